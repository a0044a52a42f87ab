#include "server/serving/token_stream.h"

#include <utility>

#include "server/output/output_format.h"

namespace tandem::server {

TokenStream::TokenStream(const ModelText& model, Options options)
    : model_(&model),
      options_(std::move(options)),
      decoder_(model.tokenizer(), !options_.keep_markers),
      scanner_(options_.stop) {
  // Decoders strip the space that begins a text: behind a token whose text is known there is none.
  const auto& anchor = model.tokenizer().anchor();
  if (options_.continues && anchor) static_cast<void>(decoder_.push(anchor->id));
}

Result<TokenStream::Piece> TokenStream::push(const TokenResult& token) {
  const std::size_t begin = decoded_;
  std::string text;
  // Without markers the decoder itself skips special tokens.
  if (!options_.keep_markers || keeps_token(model_->format(), model_->tokenizer(), token.id)) {
    auto certain = decoder_.push(token.id);
    if (!certain) return certain.error();
    text = std::move(*certain);
  }
  decoded_ += text.size();
  if (options_.tokens) held_.push_back({token, begin, decoded_});
  StopScanner::Piece scanned = scanner_.push(text);
  Piece piece;
  piece.text = std::move(scanned.text);
  piece.stopped = scanned.stopped;
  released_ += piece.text.size();
  release(piece, false);
  return piece;
}

Result<TokenStream::Piece> TokenStream::finish() {
  auto rest = decoder_.finish();
  if (!rest) return rest.error();
  StopScanner::Piece scanned = scanner_.push(*rest);
  Piece piece;
  piece.text = std::move(scanned.text);
  piece.stopped = scanned.stopped;
  if (!scanned.stopped) piece.text += scanner_.finish();
  released_ += piece.text.size();
  release(piece, !piece.stopped);
  return piece;
}

/// Tokens whose text is out. Behind a stop string that is every token that begins before it; at the
/// end, all.
void TokenStream::release(Piece& piece, bool all) {
  const auto out = [&](const Held& held) {
    if (all) return true;
    if (piece.stopped) return held.begin < released_;
    // A token without text of its own (a part of a character) comes with the text that follows.
    return !piece.text.empty() && held.end <= released_;
  };
  while (!held_.empty() && out(held_.front())) {
    piece.tokens.push_back(std::move(held_.front().token));
    held_.pop_front();
  }
}

}  // namespace tandem::server
