#include "server/serving/request_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace tandem::server {
namespace {

using nlohmann::ordered_json;

std::string quoted(const std::string& text) {
  return ordered_json(text).dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

/// A path as it stands when it is harmless in a line of text, else quoted.
std::string plain(const std::string& text) {
  if (text.empty()) return "-";
  for (const char c : text) {
    if (c <= ' ' || c == 0x7f || c == '"' || (static_cast<unsigned char>(c) & 0x80) != 0) {
      return quoted(text);
    }
  }
  return text;
}

double rounded(double ms) { return static_cast<double>(static_cast<std::int64_t>(ms * 10)) / 10; }

}  // namespace

std::string log_text(const RequestRecord& record, const std::string& time) {
  std::string line =
      fmt::format("{} {} {} {} {} id={} ms={:.1f}", time, plain(record.peer), plain(record.method),
                  plain(record.path), record.status, plain(record.id), record.total_ms);
  if (record.prompt_tokens > 0) {
    line += fmt::format(" prompt={} cached={} completion={}", record.prompt_tokens,
                        record.cached_tokens, record.completion_tokens);
  }
  if (record.queue_ms) line += fmt::format(" queue_ms={:.1f}", *record.queue_ms);
  if (record.first_token_ms) line += fmt::format(" first_ms={:.1f}", *record.first_token_ms);
  if (record.stream) line += " stream";
  if (!record.finish.empty()) line += fmt::format(" finish={}", record.finish);
  if (!record.error.empty()) line += fmt::format(" error={}", quoted(record.error));
  if (!record.prompt.empty()) line += fmt::format(" text={}", quoted(record.prompt));
  return line;
}

std::string log_json(const RequestRecord& record, const std::string& time) {
  ordered_json line = {{"time", time},
                       {"id", record.id},
                       {"peer", record.peer},
                       {"method", record.method},
                       {"path", record.path},
                       {"status", record.status},
                       {"ms", rounded(record.total_ms)}};
  if (record.prompt_tokens > 0) {
    line["prompt_tokens"] = record.prompt_tokens;
    line["cached_tokens"] = record.cached_tokens;
    line["completion_tokens"] = record.completion_tokens;
  }
  if (record.queue_ms) line["queue_ms"] = rounded(*record.queue_ms);
  if (record.first_token_ms) line["first_token_ms"] = rounded(*record.first_token_ms);
  line["stream"] = record.stream;
  if (!record.finish.empty()) line["finish"] = record.finish;
  if (!record.error.empty()) line["error"] = record.error;
  if (!record.prompt.empty()) line["prompt"] = record.prompt;
  return line.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace tandem::server
