#include "text/tokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "config/json.h"
#include "text/ffi.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_handle.h"

namespace tandem::text {
namespace {

constexpr const char* kFile = "tokenizer.json";
/// Largest tokenizer.json, bytes; the text library's own limit.
constexpr std::size_t kMaxTokenizerBytes = std::size_t{512} << 20;

struct FreeTokenizer {
  void operator()(tandem_text_tokenizer* tokenizer) const { tandem_text_tokenizer_free(tokenizer); }
};
using Handle = std::unique_ptr<tandem_text_tokenizer, FreeTokenizer>;

}  // namespace

struct Tokenizer::Impl {
  Handle handle;
  TokenizerFiles files;
  std::optional<Anchor> anchor;
};

const tandem_text_tokenizer* TokenizerHandle::of(const Tokenizer& tokenizer) {
  return tokenizer.impl_->handle.get();
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& folder) {
  const Result<std::string> text = config::read_text_file(folder / kFile, kMaxTokenizerBytes);
  if (!text) return text.error();
  tandem_text_tokenizer* raw = nullptr;
  FfiBuffer message;
  const tandem_text_status status = tandem_text_tokenizer_new(view_of(*text), &raw, message.out());
  if (status != TANDEM_TEXT_OK) {
    Error error = ffi_error(status, message, std::string(kFile) + ": ");
    if (error.code == ErrorCode::kInternal) error.code = ErrorCode::kInvalidArgument;
    return error;
  }
  auto impl = std::make_unique<Impl>();
  impl->handle = Handle(raw);
  Result<TokenizerFiles> files = read_tokenizer_files(folder);
  if (!files) return files.error();
  impl->files = *std::move(files);
  Tokenizer tokenizer(std::move(impl));
  std::vector<std::int32_t>& eos_ids = tokenizer.impl_->files.eos_ids;
  if (const std::optional<std::string> token = tokenizer.special_token("eos_token")) {
    if (const std::optional<std::int32_t> id = tokenizer.token_to_id(*token)) {
      eos_ids.push_back(*id);
    }
  }
  std::sort(eos_ids.begin(), eos_ids.end());
  eos_ids.erase(std::unique(eos_ids.begin(), eos_ids.end()), eos_ids.end());
  tokenizer.impl_->anchor = tokenizer.find_anchor();
  return tokenizer;
}

std::optional<Tokenizer::Anchor> Tokenizer::find_anchor() const {
  for (const std::string_view letter : {"a", "e", "i", "o", "n", "s", "t", "A", "0", "1"}) {
    const Result<std::vector<std::int32_t>> ids = encode(letter, false);
    if (!ids || ids->empty()) continue;
    const std::int32_t id = ids->back();
    const Result<std::string> once = decode(std::vector{id}, true);
    const Result<std::string> twice = decode(std::vector{id, id}, true);
    if (once && twice && *once == letter && twice->starts_with(letter)) {
      return Anchor{id, std::string(letter)};
    }
  }
  return std::nullopt;
}

Result<std::vector<std::int32_t>> Tokenizer::encode(std::string_view text,
                                                    bool add_special_tokens) const {
  tandem_text_ids ids{};
  FfiBuffer message;
  const tandem_text_status status = tandem_text_tokenizer_encode(
      impl_->handle.get(), view_of(text), kMaxTextBytes, add_special_tokens, &ids, message.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, message, "");
  std::vector<std::int32_t> result(ids.data, ids.data + ids.size);
  tandem_text_ids_free(ids);
  return result;
}

Result<std::string> Tokenizer::decode(std::span<const std::int32_t> ids,
                                      bool skip_special_tokens) const {
  for (const std::int32_t id : ids) {
    if (id < 0) return invalid("token id " + std::to_string(id) + " must not be negative");
  }
  FfiBuffer text;
  const tandem_text_status status = tandem_text_tokenizer_decode(
      impl_->handle.get(), reinterpret_cast<const std::uint32_t*>(ids.data()), ids.size(),
      skip_special_tokens, text.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, text, "");
  return text.str();
}

const std::vector<std::int32_t>& Tokenizer::eos_ids() const { return impl_->files.eos_ids; }

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const std::int64_t id = tandem_text_tokenizer_token_to_id(impl_->handle.get(), view_of(token));
  if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  return static_cast<std::int32_t>(id);
}

bool Tokenizer::is_text(std::int32_t id, bool skip_special_tokens) const {
  if (id < 0) return false;
  const std::int32_t kind =
      tandem_text_tokenizer_token_kind(impl_->handle.get(), static_cast<std::uint32_t>(id));
  return kind == TANDEM_TEXT_TOKEN_NORMAL ||
         (kind == TANDEM_TEXT_TOKEN_SPECIAL && !skip_special_tokens);
}

const std::optional<Tokenizer::Anchor>& Tokenizer::anchor() const { return impl_->anchor; }

std::int32_t Tokenizer::vocabulary_size() const {
  return static_cast<std::int32_t>(tandem_text_tokenizer_vocabulary_size(impl_->handle.get()));
}

std::optional<std::string> Tokenizer::special_token(std::string_view name) const {
  const auto found = impl_->files.special_tokens.find(name);
  if (found == impl_->files.special_tokens.end()) return std::nullopt;
  return found->second;
}

}  // namespace tandem::text
