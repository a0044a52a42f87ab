#include "client/load_client.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/event_reader.h"

namespace tandem::client {
namespace {

/// How often Ctrl-C is looked for.
constexpr std::chrono::milliseconds kLook{100};
constexpr std::string_view kEnd = "[DONE]";

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

/// A refusal as an error.
Error refused(const HttpReply& reply) {
  const bool ours = reply.status >= 400 && reply.status < 500;
  return {ours ? ErrorCode::kInvalidArgument : ErrorCode::kUnavailable,
          fmt::format("status {}: {}", reply.status, error_message(reply.body))};
}

/// One answer while it streams.
class Answer {
 public:
  explicit Answer(std::size_t pieces_max) : pieces_max_(pieces_max), sent_(Clock::now()) {}

  Status feed(std::string_view bytes) {
    const auto now = Clock::now();
    events_.clear();
    if (auto status = reader_.feed(bytes, events_); !status.ok()) return status;
    for (const std::string& event : events_) {
      if (auto status = take(event, now); !status.ok()) return status;
    }
    return {};
  }

  /// All that was seen, when nothing is missing.
  Result<RequestSample> finish(int words) {
    const auto fail = [](const char* why) { return Error{ErrorCode::kUnavailable, why}; };
    if (!ended_) return fail("the stream ended before [DONE]");
    if (pieces_ == 0) return fail("the stream brought no text");
    sample_.whole = seconds(Clock::now() - sent_);
    sample_.last_piece = seconds(last_ - sent_);
    sample_.prompt_tokens = usage_ ? usage_->prompt_tokens : static_cast<std::uint64_t>(words);
    sample_.cached_tokens = usage_ ? usage_->cached_tokens : 0;
    sample_.output_tokens = usage_ ? usage_->completion_tokens : pieces_;
    return std::move(sample_);
  }
  bool counted() const { return usage_.has_value(); }
  std::size_t gaps() const { return sample_.gaps.size(); }

 private:
  Status take(const std::string& event, Clock::time_point now) {
    if (event == kEnd) {
      ended_ = true;
      return {};
    }
    auto piece = read_event(event);
    if (!piece) return piece.error();
    if (piece->usage) usage_ = piece->usage;
    if (!piece->text) return {};
    if (pieces_++ == 0) {
      sample_.first_piece = seconds(now - sent_);
    } else {
      sample_.gaps.push_back(static_cast<float>(seconds(now - last_)));
    }
    last_ = now;
    if (pieces_ <= pieces_max_) return {};
    return Error{ErrorCode::kResourceLimit, "the stream has more pieces than tokens were asked"};
  }

  std::size_t pieces_max_;
  EventReader reader_;
  std::vector<std::string> events_;
  Clock::time_point sent_;
  Clock::time_point last_;
  std::size_t pieces_ = 0;
  bool ended_ = false;
  std::optional<TokenUsage> usage_;
  RequestSample sample_;
};

}  // namespace

/// The coroutines of one level and what they found.
class LoadClient::Run {
 public:
  Run(LoadClient& client, const Level& level)
      : client_(&client), level_(level), begun_(Clock::now()) {}

  asio::awaitable<void> stream(asio::any_io_executor executor) {
    const auto connection = make_connection(std::move(executor), *client_->server_);
    while (wanted()) {
      ++started_;
      samples_.push_back(co_await request(*connection));
      ended_ = Clock::now();
    }
  }

  LevelReport report() const {
    return summarize(level_.streams, seconds(ended_ - begun_), samples_);
  }
  /// Why a request failed last.
  const std::optional<Error>& error() const { return error_; }
  bool counted() const { return counted_; }
  const std::vector<RequestSample>& samples() const { return samples_; }

 private:
  bool wanted() const {
    if (level_.requests > 0 && started_ >= level_.requests) return false;
    if (level_.time.count() > 0 && Clock::now() - begun_ >= level_.time) return false;
    return gaps_ < kGapsMax;
  }

  asio::awaitable<RequestSample> request(HttpConnection& connection) {
    const Workload& workload = client_->options_.workload;
    std::seed_seq seed{client_->options_.seed, client_->options_.seed >> 32, ++client_->prompts_};
    std::mt19937_64 random(seed);
    const HttpRequest request{
        path_of(workload.endpoint),
        request_body(workload, random, client_->prompt_size_, client_->vocabulary_)};
    Answer answer(static_cast<std::size_t>(workload.max_tokens) + 1);
    const HttpConnection::OnBytes feed = [&answer](std::string_view bytes) {
      return answer.feed(bytes);
    };
    auto reply = co_await connection.exchange(request, after(client_->options_.request_time), feed);
    if (reply && reply->status != 200) reply = refused(*reply);
    if (reply && !reply->body.empty()) {
      reply = Error{ErrorCode::kUnavailable,
                    fmt::format("the answer is no event stream but {}", reply->type)};
    }
    auto sample = reply ? answer.finish(client_->prompt_size_) : reply.error();
    gaps_ += answer.gaps();
    if (!sample) {
      error_ = sample.error();
      RequestSample failed;
      failed.error = error_->message;
      co_return failed;
    }
    counted_ = answer.counted();
    co_return std::move(*sample);
  }

  LoadClient* client_;
  Level level_;
  Clock::time_point begun_;
  Clock::time_point ended_ = begun_;
  std::uint64_t started_ = 0;
  std::size_t gaps_ = 0;
  bool counted_ = false;
  std::optional<Error> error_;
  std::vector<RequestSample> samples_;
};

LoadClient::LoadClient(const Server& server, LoadOptions options)
    : server_(&server),
      options_(std::move(options)),
      prompt_size_(options_.workload.prompt_tokens) {}

Status LoadClient::drive(asio::io_context& io) const {
  while (!io.stopped()) {
    if (options_.cancelled && options_.cancelled()) {
      return Error{ErrorCode::kCancelled, "interrupted"};
    }
    io.run_for(kLook);
  }
  return {};
}

Result<ModelEntry> LoadClient::ask_model() {
  asio::io_context io(1);
  Result<HttpReply> reply = Error{ErrorCode::kInternal, "nothing was asked"};
  const HttpRequest request{"/models", ""};
  const HttpConnection::OnBytes none = [](std::string_view) { return Status(); };
  const auto ask = [&]() -> asio::awaitable<void> {
    const auto connection = make_connection(io.get_executor(), *server_);
    reply = co_await connection->exchange(request, after(options_.request_time), none);
  };
  asio::co_spawn(io, ask, asio::detached);
  if (auto status = drive(io); !status.ok()) return status.error();
  if (!reply) return reply.error();
  if (reply->status != 200) return refused(*reply);
  return first_model(reply->body);
}

Status LoadClient::warm_up() {
  Run run(*this, {.streams = 1, .requests = 1});
  asio::io_context io(1);
  asio::co_spawn(io, run.stream(io.get_executor()), asio::detached);
  if (auto status = drive(io); !status.ok()) return status;
  if (const auto& failed = run.error()) return *failed;
  server_counts_ = run.counted();
  if (server_counts_ && options_.workload.prompts == PromptKind::kWords) {
    prompt_size_ = words_for(options_.workload.prompt_tokens, prompt_size_,
                             run.samples().front().prompt_tokens);
  }
  return {};
}

Result<LevelReport> LoadClient::run(const Level& level) {
  Run run(*this, level);
  asio::io_context io(1);
  for (int i = 0; i < level.streams; ++i) {
    asio::co_spawn(io, run.stream(io.get_executor()), asio::detached);
  }
  if (auto status = drive(io); !status.ok()) return status.error();
  return run.report();
}

}  // namespace tandem::client
