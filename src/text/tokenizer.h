#pragma once
// Text to token ids and back, by Hugging Face's `tokenizers`.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::text {

/// A model folder's tokenizer: tokenizer.json, tokenizer_config.json, special_tokens_map.json and
/// generation_config.json. Immutable; const methods may be called from any thread.
class Tokenizer {
 public:
  static Result<Tokenizer> load(const std::filesystem::path& folder);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// add_special_tokens: what the tokenizer's post-processor adds (bos). Text is UTF-8, at most
  /// kMaxTextBytes.
  Result<std::vector<std::int32_t>> encode(std::string_view text, bool add_special_tokens) const;
  Result<std::string> decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const;

  /// Ids that end a generation: config.json's and generation_config.json's eos_token_id (one or a
  /// list) and the tokenizer's eos_token. Sorted.
  const std::vector<std::int32_t>& eos_ids() const;
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// Ids below this exist in the tokenizer (added tokens included).
  std::int32_t vocabulary_size() const;
  /// bos_token, eos_token, ... as tokenizer_config.json gives them; for templates.
  std::optional<std::string> special_token(std::string_view name) const;

  /// Whether an id adds text of its own: it is known, and not a special token to skip.
  bool is_text(std::int32_t id, bool skip_special_tokens) const;
  /// A token whose text is the same wherever it stands; for StreamDecoder.
  struct Anchor {
    std::int32_t id;
    std::string text;
  };
  const std::optional<Anchor>& anchor() const;

 private:
  friend struct TokenizerHandle;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::optional<Anchor> find_anchor() const;

  std::unique_ptr<Impl> impl_;
};

/// Longest accepted text, bytes.
inline constexpr std::size_t kMaxTextBytes = 64 << 20;

/// Turns a stream of ids into a stream of text. A piece is held back while it could end inside a
/// character; push() never returns half a character. Each push costs the same however long the
/// stream is. Together they are what decode() gives for all ids, but that U+FFFD may stand there in
/// another number, and for all of a run of byte tokens with a bad one among them. One thread.
class StreamDecoder {
 public:
  /// tokenizer outlives the decoder.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);
  /// The text that became certain with this id; may be empty.
  Result<std::string> push(std::int32_t id);
  /// What is left at the end (an incomplete character becomes U+FFFD).
  Result<std::string> finish();

 private:
  Result<std::string> pending_text() const;

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  bool started_ = false;               // some text was returned
  std::vector<std::int32_t> pending_;  // ids whose text is not complete
  std::size_t emitted_ = 0;            // bytes of their text that were returned
};

}  // namespace tandem::text
