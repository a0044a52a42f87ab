#include "cli/report.h"

#include <fmt/format.h>

#include <cstdint>

#include "cli/values.h"

namespace tandem::cli {
namespace {

std::uint64_t memory_of(const std::vector<RankInfo>& ranks) {
  std::uint64_t bytes = 0;
  for (const RankInfo& rank : ranks) bytes += rank.memory_bytes;
  return bytes;
}

/// Speeds are null when nothing was timed.
nlohmann::ordered_json speed_json(double tokens_per_second) {
  if (tokens_per_second > 0) return tokens_per_second;
  return nullptr;
}

}  // namespace

std::string rank_table(const std::vector<RankInfo>& ranks) {
  std::string out;
  for (const RankInfo& rank : ranks) {
    const int first = rank.stage.layers.first;
    const int last = rank.stage.layers.last - 1;
    const std::string layers = first == last ? fmt::format("layer {}", first)
                                             : fmt::format("layers {} to {}", first, last);
    out += fmt::format("rank {} on {}: {} of {}, {} of weights, {} of KV a token\n", rank.rank,
                       rank.host, layers, rank.stage.layer_count,
                       format_bytes(static_cast<double>(rank.stage.weight_bytes)),
                       format_bytes(static_cast<double>(rank.stage.kv_bytes_per_token())));
  }
  return out;
}

std::string speed_lines(const Answer& answer, const std::vector<RankInfo>& ranks) {
  const auto speed = [](double tokens_per_second) {
    return tokens_per_second > 0 ? fmt::format(", {:.1f} tok/s", tokens_per_second) : std::string();
  };
  return fmt::format("prompt: {} tokens{}\nanswer: {} tokens{}\nmemory: {} in {} {}\n",
                     answer.prompt_tokens, speed(answer.prompt_tps()), answer.ids.size(),
                     speed(answer.decode_tps()),
                     format_bytes(static_cast<double>(memory_of(ranks))), ranks.size(),
                     ranks.size() == 1 ? "rank" : "ranks");
}

nlohmann::ordered_json ranks_json(const std::vector<RankInfo>& ranks) {
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const RankInfo& rank : ranks) {
    out.push_back({{"rank", rank.rank},
                   {"layers", {rank.stage.layers.first, rank.stage.layers.last}},
                   {"memory_bytes", rank.memory_bytes}});
  }
  return out;
}

nlohmann::ordered_json answer_json(const Answer& answer, const std::vector<RankInfo>& ranks) {
  return {{"text", answer.text},
          {"ids", answer.ids},
          {"finish_reason", answer.finish == scheduler::FinishReason::kStop ? "stop" : "length"},
          {"prompt_tokens", answer.prompt_tokens},
          {"completion_tokens", answer.ids.size()},
          {"prompt_tps", speed_json(answer.prompt_tps())},
          {"decode_tps", speed_json(answer.decode_tps())},
          {"ranks", ranks_json(ranks)}};
}

}  // namespace tandem::cli
