#include "text/grammar.h"

#include "text/ffi.h"
#include "text/tokenizer_handle.h"

namespace tandem::text {
namespace {

struct FreeTokenizer {
  void operator()(tandem_text_grammar_tokenizer* each) const {
    tandem_text_grammar_tokenizer_free(each);
  }
};
struct FreeGrammar {
  void operator()(tandem_text_grammar* each) const { tandem_text_grammar_free(each); }
};
struct FreeMatcher {
  void operator()(tandem_text_matcher* each) const { tandem_text_matcher_free(each); }
};

}  // namespace

struct GrammarTokenizer::Impl {
  std::unique_ptr<tandem_text_grammar_tokenizer, FreeTokenizer> handle;
  std::int32_t vocabulary;
};

struct Grammar::Impl {
  std::unique_ptr<tandem_text_grammar, FreeGrammar> handle;
  std::size_t words;  // of a mask
};

struct GrammarMatcher::Impl {
  std::unique_ptr<tandem_text_matcher, FreeMatcher> handle;
  std::size_t words;
};

Result<GrammarTokenizer> GrammarTokenizer::make(const Tokenizer& tokenizer,
                                                std::int32_t vocabulary) {
  if (vocabulary < 1) {
    return invalid("a vocabulary of " + std::to_string(vocabulary) + " has no tokens");
  }
  std::vector<std::uint32_t> eos;
  for (const std::int32_t id : tokenizer.eos_ids()) {
    if (id >= 0) eos.push_back(static_cast<std::uint32_t>(id));
  }
  tandem_text_grammar_tokenizer* raw = nullptr;
  FfiBuffer message;
  const tandem_text_status status = tandem_text_grammar_tokenizer_new(
      TokenizerHandle::of(tokenizer), static_cast<std::uint32_t>(vocabulary), eos.data(),
      eos.size(), &raw, message.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, message, "tokenizer.json: ");
  Impl impl{std::unique_ptr<tandem_text_grammar_tokenizer, FreeTokenizer>(raw), vocabulary};
  return GrammarTokenizer(std::make_shared<const Impl>(std::move(impl)));
}

std::int32_t GrammarTokenizer::vocabulary() const { return impl_->vocabulary; }

Result<Grammar> Grammar::compile(const GrammarTokenizer& tokenizer, std::int32_t kind,
                                 std::string_view source) {
  tandem_text_grammar* raw = nullptr;
  FfiBuffer message;
  const tandem_text_status status = tandem_text_grammar_new(tokenizer.impl_->handle.get(), kind,
                                                            view_of(source), &raw, message.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, message, "");
  const auto words = (static_cast<std::size_t>(tokenizer.vocabulary()) + 31) / 32;
  Impl impl{std::unique_ptr<tandem_text_grammar, FreeGrammar>(raw), words};
  return Grammar(std::make_shared<const Impl>(std::move(impl)));
}

Result<Grammar> Grammar::json_schema(const GrammarTokenizer& tokenizer, std::string_view schema) {
  return compile(tokenizer, TANDEM_TEXT_JSON_SCHEMA, schema);
}

Result<Grammar> Grammar::json_object(const GrammarTokenizer& tokenizer) {
  return json_schema(tokenizer, R"({"type":"object"})");
}

Result<Grammar> Grammar::regex(const GrammarTokenizer& tokenizer, std::string_view pattern) {
  return compile(tokenizer, TANDEM_TEXT_REGEX, pattern);
}

Result<Grammar> Grammar::lark(const GrammarTokenizer& tokenizer, std::string_view source) {
  return compile(tokenizer, TANDEM_TEXT_LARK, source);
}

Result<std::string> lark_json(std::string_view schema) {
  FfiBuffer text;
  const tandem_text_status status = tandem_text_grammar_lark_json(view_of(schema), text.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, text, "json schema: ");
  return text.str();
}

GrammarMatcher::GrammarMatcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrammarMatcher::~GrammarMatcher() = default;
GrammarMatcher::GrammarMatcher(GrammarMatcher&&) noexcept = default;
GrammarMatcher& GrammarMatcher::operator=(GrammarMatcher&&) noexcept = default;

Result<GrammarMatcher> GrammarMatcher::start(const Grammar& grammar) {
  tandem_text_matcher* raw = nullptr;
  FfiBuffer message;
  const tandem_text_status status =
      tandem_text_matcher_new(grammar.impl_->handle.get(), &raw, message.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, message, "grammar: ");
  Impl impl{std::unique_ptr<tandem_text_matcher, FreeMatcher>(raw), grammar.impl_->words};
  return GrammarMatcher(std::make_unique<Impl>(std::move(impl)));
}

Result<std::vector<std::uint32_t>> GrammarMatcher::allowed() {
  std::vector<std::uint32_t> words(impl_->words);
  FfiBuffer message;
  const tandem_text_status status =
      tandem_text_matcher_allowed(impl_->handle.get(), words.data(), words.size(), message.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, message, "");
  return words;
}

Status GrammarMatcher::accept(std::int32_t token) {
  if (token < 0) return invalid("token id " + std::to_string(token) + " must not be negative");
  FfiBuffer message;
  const tandem_text_status status = tandem_text_matcher_accept(
      impl_->handle.get(), static_cast<std::uint32_t>(token), message.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, message, "");
  return {};
}

bool GrammarMatcher::complete() const { return tandem_text_matcher_complete(impl_->handle.get()); }

}  // namespace tandem::text
