#include <algorithm>
#include <string>
#include <utility>

#include "text/tokenizer.h"

namespace tandem::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
/// A character has at most four bytes, so that at most three replacement characters at the end of
/// a text may yet become something else, unless what is before them in their run of bytes was
/// stripped from the text: byte fallback replaces the whole run until the last byte is there.
constexpr std::size_t kUncertain = 3;
/// Tokens that may wait for a character to be completed. A character needs four at most; more are
/// bytes that belong to none.
constexpr std::size_t kMaxPending = 32;

/// Bytes of `text` that later tokens cannot change. `stripped`: leading spaces are missing from it.
std::size_t certain_bytes(std::string_view text, bool stripped) {
  std::size_t end = text.size();
  const std::size_t most = stripped ? kMaxPending : kUncertain;
  for (std::size_t i = 0; i < most && text.substr(0, end).ends_with(kReplacement); ++i) {
    end -= kReplacement.size();
  }
  return end;
}

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}

Result<std::string> StreamDecoder::pending_text() const {
  // In the middle of a text a tokenizer does not strip the leading space that it strips at the
  // start, so that what is pending is decoded behind a token whose text is known.
  const std::optional<Tokenizer::Anchor>& anchor = tokenizer_->anchor();
  if (!started_ || !anchor) return tokenizer_->decode(pending_, skip_special_tokens_);
  std::vector<std::int32_t> ids = {anchor->id};
  ids.insert(ids.end(), pending_.begin(), pending_.end());
  Result<std::string> text = tokenizer_->decode(ids, skip_special_tokens_);
  if (text && text->starts_with(anchor->text)) text->erase(0, anchor->text.size());
  return text;
}

Result<std::string> StreamDecoder::push(std::int32_t id) {
  if (!tokenizer_->is_text(id, skip_special_tokens_)) return std::string();
  pending_.push_back(id);
  Result<std::string> text = pending_text();
  if (!text) return text;
  const bool full = pending_.size() >= kMaxPending;
  const bool stripped = !started_ || !tokenizer_->anchor();
  const std::size_t certain = full ? text->size() : certain_bytes(*text, stripped);
  const std::size_t from = std::min(emitted_, certain);
  std::string piece = text->substr(from, certain - from);
  emitted_ = std::max(emitted_, certain);
  if (full || (certain == text->size() && (started_ || certain > 0))) {
    started_ = started_ || certain > 0;
    pending_.clear();
    emitted_ = 0;
  }
  return piece;
}

Result<std::string> StreamDecoder::finish() {
  Result<std::string> text = pending_text();
  if (!text) return text;
  text->erase(0, std::min(emitted_, text->size()));
  pending_.clear();
  emitted_ = 0;
  return text;
}

}  // namespace tandem::text
