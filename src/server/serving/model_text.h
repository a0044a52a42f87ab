#pragma once
// A model's words: tokenizer, chat template, and how it writes reasoning and tool calls.

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/api/chat_request.h"
#include "server/api/completion_request.h"
#include "server/api/logprobs.h"
#include "server/api/request_rules.h"
#include "server/output/output_format.h"
#include "server/serving/history_style.h"
#include "tandem/error.h"
#include "tandem/tick.h"
#include "text/chat_template.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace tandem::server {

/// Immutable; may be used from any thread.
class ModelText {
 public:
  static Result<ModelText> load(const std::filesystem::path& folder);

  const text::Tokenizer& tokenizer() const { return tokenizer_; }
  const OutputFormat& format() const { return format_; }
  /// Ids that the model knows; those of its tokenizer may be fewer.
  std::int32_t vocabulary() const { return vocabulary_; }
  /// Whether the chat template's output depends on a variable, tried with two values (JSON).
  bool template_reads(const std::string& variable, const std::string& one,
                      const std::string& other) const;

  /// Whether it shows tools to the model.
  bool template_takes_tools() const;
  /// The tokenizer as grammars want it, made when it is first asked for.
  const Result<text::GrammarTokenizer>& grammar_tokenizer() const;

  /// The rendered conversation. kInvalidArgument: the template refuses it, or the model has none.
  Result<std::string> render(const ChatPrompt& prompt, std::time_t now) const;
  /// Ids of a rendered conversation, which holds its special tokens already.
  Result<std::vector<std::int32_t>> encode_rendered(const std::string& text) const;
  Result<std::vector<std::int32_t>> encode(const Prompt& prompt) const;

  /// Bytes of the longest token; 0: tokens of this tokenizer may stand for any number of bytes.
  std::size_t longest_token() const { return longest_token_; }
  /// Tokens of a beginning of `text`, when they are more than `limit` beyond doubt; for texts that
  /// are far longer than such a prompt, of which no more than needed becomes tokens.
  std::optional<std::size_t> tokens_beyond(std::string_view text, std::size_t limit) const;

  /// A token's text as it stands inside a text; a part of a character is U+FFFD.
  std::string token_text(std::int32_t id) const;
  /// Says of the tokens of `text`, from its beginning on, what each adds where that is not its
  /// bytes: nothing for a special token that the text does not have, the word alone for a first
  /// word whose space the decoder strips.
  void align(std::span<TokenText> tokens, std::string_view text) const;
  TokenText token_text(const TokenResult& token) const;

 private:
  ModelText(text::Tokenizer tokenizer, std::optional<text::ChatTemplate> chat_template,
            OutputFormat format, std::int32_t vocabulary)
      : tokenizer_(std::move(tokenizer)),
        template_(std::move(chat_template)),
        format_(std::move(format)),
        vocabulary_(vocabulary),
        for_grammars_(std::make_unique<ForGrammars>()) {}
  HistoryStyle find_history_style() const;

  text::Tokenizer tokenizer_;
  std::optional<text::ChatTemplate> template_;
  OutputFormat format_;
  std::int32_t vocabulary_;
  HistoryStyle history_;
  std::size_t longest_token_ = 0;

  struct ForGrammars {
    std::once_flag once;
    std::optional<Result<text::GrammarTokenizer>> made;
  };
  std::unique_ptr<ForGrammars> for_grammars_;
};

/// The defaults of sampling that the model's authors recommend in generation_config.json: its
/// temperature, top_p, top_k, min_p and repetition_penalty. Temperature is 0 when it says
/// "do_sample": false, and else OpenAI's 1. top_k -1, top_p 0 and min_p 1 mean off.
Result<SamplingParams> recommended_sampling(const std::filesystem::path& folder);

}  // namespace tandem::server
