#pragma once
// Constrained decoding: which tokens may come next so that the whole output fits a JSON schema, a
// regular expression or a grammar. By llguidance (https://github.com/guidance-ai/llguidance).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"
#include "text/tokenizer.h"

namespace tandem::text {

/// Longest source of a grammar, bytes.
inline constexpr std::size_t kMaxGrammarBytes = std::size_t{1} << 20;

/// A tokenizer's tokens as bytes, arranged for grammars. Made once a model (100 ms for 150,000
/// tokens, 20 MB). Immutable; may be used from any thread; copies share.
class GrammarTokenizer {
 public:
  /// vocabulary: of the model; masks have a bit for each of its tokens. It may be larger than the
  /// tokenizer's, whose further tokens are never allowed. Fails for tokenizers whose tokens do not
  /// stand for bytes wherever they are (WordPiece).
  static Result<GrammarTokenizer> make(const Tokenizer& tokenizer, std::int32_t vocabulary);

  std::int32_t vocabulary() const;
  /// Words of a mask: a bit for each token of the model.
  std::size_t words() const { return (static_cast<std::size_t>(vocabulary()) + 31) / 32; }

 private:
  friend class Grammar;
  struct Impl;
  explicit GrammarTokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// What an output may be, compiled. Immutable; may be used from any thread; copies share. Errors
/// are kInvalidArgument (the source breaks a rule or asks for what is not supported; nothing is
/// ignored silently) or kResourceLimit (it is too large), with one line that starts with the kind:
/// "json schema: ...". Compiling takes at most about a second, usually milliseconds.
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
  /// llguidance's Lark syntax (docs/syntax.md there). Start rule: `start`. Compose it with
  /// lark_text() and lark_json().
  static Result<Grammar> lark(const GrammarTokenizer& tokenizer, std::string_view source);

 private:
  friend class GrammarMatcher;
  struct Impl;
  explicit Grammar(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  static Result<Grammar> compile(const GrammarTokenizer& tokenizer, std::int32_t kind,
                                 std::string_view source);
  std::shared_ptr<const Impl> impl_;
};

/// A Lark expression for exactly this text: the token where `text` is one special token of the
/// tokenizer, a quoted string otherwise. Special tokens never match quoted strings.
std::string lark_text(const Tokenizer& tokenizer, std::string_view text);

/// The Lark expression `%json {...}` of a schema, with the rules of Grammar::json_schema.
Result<std::string> lark_json(std::string_view schema);

/// Follows one output token by token. Starting one is cheap (microseconds). One thread at a time.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(const Grammar& grammar);
  ~GrammarMatcher();
  GrammarMatcher(GrammarMatcher&&) noexcept;
  GrammarMatcher& operator=(GrammarMatcher&&) noexcept;

  /// The tokens that may come next: bit i % 32 of word i / 32 stands for token i. Tokens that end a
  /// generation are among them where the output may end. At least one bit is set. Not after
  /// complete(). Takes 10 us to 20 ms; an output that becomes too complex is kResourceLimit, one
  /// that no token can continue kInvalidArgument.
  Result<std::vector<std::uint32_t>> allowed();
  /// Moves on by a token. kInvalidArgument when it was not allowed; the matcher then stays failed.
  Status accept(std::int32_t token);
  /// Nothing may follow, or a token that ends a generation was accepted.
  bool complete() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::text
