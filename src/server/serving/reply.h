#pragma once
// From the tokens of a request's sequences to its answer.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/api/api_error.h"
#include "server/api/reply_format.h"
#include "server/output/output_parser.h"
#include "server/serving/job.h"
#include "server/serving/metrics.h"
#include "server/serving/model_text.h"
#include "server/serving/recorded_answer.h"
#include "server/serving/token_stream.h"

namespace tandem::server {

/// What is told back of a prompt that the request wants echoed.
struct Echo {
  std::string text;
  std::vector<std::int32_t> ids;
};

struct ReplyOptions {
  bool stream = false;
  bool include_usage = false;
  std::optional<int> logprobs;
  std::vector<std::string> stop;
  std::vector<std::int32_t> stop_ids;        // sorted; a token of them is no text
  std::vector<std::uint64_t> prompt_tokens;  // of each prompt
  std::vector<Echo> echo;                    // of each prompt; empty: none wanted
  int n = 1;                            // choices of each prompt; sequence i is of prompt i / n
  std::optional<OutputOptions> parser;  // chats: splits content, reasoning and tool calls
  OutputFormat output_format;           // with parser
  std::string begun_call;               // with parser: what the prompt ends with of a call
  std::vector<bool> continues;          // of each prompt: the output goes on inside its text
  bool parallel_calls = true;
  std::string param;  // field that is to blame when the prompt is refused
};

/// Makes one answer, streamed or whole.
class Reply final : public JobListener {
 public:
  /// `model` and `metrics` outlive the reply.
  Reply(std::shared_ptr<RecordedAnswer> answer, const ModelText& model, Metrics& metrics,
        ReplyHead head, std::unique_ptr<ReplyFormat> format, ReplyOptions options);

  bool event(std::size_t index, const scheduler::Event& event) override;
  void failed(const Error& error) override;
  bool wanted(Clock::time_point now) override;

 private:
  struct Choice {
    explicit Choice(TokenStream given) : stream(std::move(given)) {}
    TokenStream stream;
    std::optional<OutputParser> parser;
    OutputDelta begun;  // of a call that the prompt began
    ChoicePart part;    // all of it so far, when not streamed
    std::vector<scheduler::TokenScore> scores;
    std::uint64_t completion_tokens = 0;
    std::uint64_t reasoning_tokens = 0;
    std::uint32_t prompt_done = 0;
    std::uint32_t cached = 0;
    bool opened = false;
    bool over = false;
    std::optional<Clock::time_point> last_token;
  };

  void note(Choice& choice, const scheduler::Event& event);
  void open(std::size_t index);
  /// Passes a piece on. True: the choice ends with it.
  bool take(std::size_t index, TokenStream::Piece piece, bool last);
  void emit(std::size_t index, ChoicePart part);
  void close(std::size_t index, std::string finish);
  void end();
  void finish_answer();
  bool flush();
  void fail(const ApiError& error);
  void ensure_begun();
  void keep_alive();
  Usage usage() const;
  Timings timings() const;

  std::shared_ptr<RecordedAnswer> answer_;
  const ModelText* model_;
  Metrics* metrics_;
  ReplyHead head_;
  std::unique_ptr<ReplyFormat> format_;
  ReplyOptions options_;
  std::vector<Choice> choices_;
  std::size_t open_choices_;
  bool begun_ = false;
  bool over_ = false;
  std::string out_;  // of a stream, not written yet
  Clock::time_point last_write_;
  std::optional<Clock::time_point> computed_;  // from when on
  std::optional<Clock::time_point> first_token_;
  std::optional<Clock::time_point> last_token_;
};

}  // namespace tandem::server
