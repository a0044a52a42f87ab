#pragma once
// Constrained decoding: which tokens may come next so that the whole output fits a JSON schema, a
// regular expression or a grammar. By llguidance (https://github.com/guidance-ai/llguidance).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tandem/error.h"
#include "text/tokenizer.h"

namespace tandem::text {

/// A model's tokens as bytes, arranged for grammars. Made once a model. Immutable; may be used from
/// any thread; copies share. Special tokens and those that end an output are no text: only a
/// grammar that names one (in Lark: `<[id]>`) allows it.
class GrammarTokenizer {
 public:
  /// vocabulary: of the model; masks have a bit for each of its tokens. Those that the tokenizer
  /// does not have are never allowed. kInvalidArgument for tokenizers whose tokens do not stand for
  /// the same bytes wherever they are (WordPiece).
  static Result<GrammarTokenizer> make(const Tokenizer& tokenizer, std::int32_t vocabulary);

  std::int32_t vocabulary() const;

 private:
  friend class Grammar;
  struct Impl;
  explicit GrammarTokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// What an output may be, compiled. Immutable; may be used from any thread; copies share. What the
/// source gets wrong, asks for beyond what is supported (nothing is ignored silently) or beyond the
/// limits is kInvalidArgument, with one line that starts with the kind: "json schema: ...".
/// A source has at most 1 MiB; compiling takes milliseconds, for hostile ones about a second: not
/// on a thread that others wait for.
class Grammar {
 public:
  /// Outputs are JSON values that are valid under the schema (draft 2020-12), with object members
  /// in the order of the schema. Between tokens of JSON there may be one space or one line break
  /// with indentation. The root may be of any type.
  static Result<Grammar> json_schema(const GrammarTokenizer& tokenizer, std::string_view schema);
  /// Any JSON object.
  static Result<Grammar> json_object(const GrammarTokenizer& tokenizer);
  /// The whole output matches; Rust regex syntax without look-around and back-references.
  static Result<Grammar> regex(const GrammarTokenizer& tokenizer, std::string_view pattern);
  /// llguidance's Lark syntax (docs/syntax.md there); the start rule is `start`.
  static Result<Grammar> lark(const GrammarTokenizer& tokenizer, std::string_view source);

 private:
  friend class GrammarMatcher;
  struct Impl;
  explicit Grammar(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  static Result<Grammar> compile(const GrammarTokenizer& tokenizer, std::int32_t kind,
                                 std::string_view source);
  std::shared_ptr<const Impl> impl_;
};

/// The Lark expression `%json {...}` of a schema, with the rules of Grammar::json_schema.
Result<std::string> lark_json(std::string_view schema);

/// Follows one output token by token. Starting one is cheap (microseconds). One thread at a time.
class GrammarMatcher {
 public:
  /// The grammar need not outlive the matcher.
  static Result<GrammarMatcher> start(const Grammar& grammar);
  ~GrammarMatcher();
  GrammarMatcher(GrammarMatcher&&) noexcept;
  GrammarMatcher& operator=(GrammarMatcher&&) noexcept;

  /// The tokens that may come next: bit i % 32 of word i / 32 stands for token i, as many words as
  /// the model's vocabulary needs. Tokens that end an output are among them where it may end. At
  /// least one bit is set. kInvalidArgument after complete(); kResourceLimit when the output has
  /// become too complex to follow, or no token can continue it.
  Result<std::vector<std::uint32_t>> allowed();
  /// Moves on by a token. kResourceLimit when it was not allowed; the matcher then stays failed.
  Status accept(std::int32_t token);
  /// Nothing may follow, or a token that ends an output was accepted.
  bool complete() const;

 private:
  struct Impl;
  explicit GrammarMatcher(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::text
