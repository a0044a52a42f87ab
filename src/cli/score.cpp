// `tandem score`: log-probabilities of given tokens.

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/model_folder.h"
#include "cli/session.h"
#include "cli/values.h"
#include "config/json.h"

namespace tandem::cli {
namespace {

Result<std::vector<std::int32_t>> read_ids(const ScoreOptions& options, Console& console) {
  if (options.ids_file == "-") {
    auto text = console.read_all(limits::kIdsBytesMax);
    if (!text) return text.error();
    return parse_json_ids(*text, "--ids standard input");
  }
  auto text = config::read_text_file(options.ids_file, limits::kIdsBytesMax);
  if (!text) return Error{text.error().code, "--ids " + text.error().message};
  return parse_json_ids(*text, "--ids " + options.ids_file);
}

/// JSON has no infinity; null says "no probability".
nlohmann::ordered_json number(float value) {
  if (!std::isfinite(value)) return nullptr;
  return printable(value);
}

nlohmann::ordered_json token_json(std::int32_t id, const TokenResult* score) {
  nlohmann::ordered_json out{
      {"id", id}, {"logprob", nullptr}, {"top", nlohmann::ordered_json::array()}};
  if (score == nullptr) return out;
  out["logprob"] = number(score->logprob);
  for (const TokenLogprob& top : score->top) {
    out["top"].push_back({{"id", top.id}, {"logprob", number(top.logprob)}});
  }
  return out;
}

std::string as_json(const std::vector<std::int32_t>& ids,
                    const std::vector<scheduler::TokenScore>& scores) {
  // Token by token: one tree of everything would be many times the text.
  std::string out = "{\"tokens\":[";
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ",";
    out += json_text(token_json(ids[i], i == 0 ? nullptr : &scores[i - 1].token));
  }
  return out + "]}\n";
}

std::string as_table(const std::vector<std::int32_t>& ids,
                     const std::vector<scheduler::TokenScore>& scores) {
  std::string out =
      fmt::format("{:>8} {:>12}  likeliest\n{:>8} {:>12}\n", "id", "logprob", ids[0], "-");
  double sum = 0;
  for (const auto& [position, score] : scores) {
    sum += score.logprob;
    out += fmt::format("{:>8} {:>12.6f} ", score.id, score.logprob);
    for (const TokenLogprob& top : score.top) out += fmt::format(" {}:{:.4f}", top.id, top.logprob);
    out += "\n";
  }
  if (scores.empty()) return out;
  const double mean = sum / static_cast<double>(scores.size());
  return out + fmt::format("perplexity {:.4f} over {} tokens\n", std::exp(-mean), scores.size());
}

/// Runs the scoring request; the scores of ids[1], ids[2], ...
Result<std::vector<scheduler::TokenScore>> score_ids(scheduler::Engine& engine,
                                                     const ScoreOptions& options,
                                                     const std::vector<std::int32_t>& ids) {
  scheduler::Request request;
  request.prompt = ids;
  request.max_tokens = 0;
  request.score = true;
  request.top_logprobs = static_cast<std::uint32_t>(options.top_logprobs);
  auto sequence = engine.add(std::move(request));
  if (!sequence) {
    return Error{sequence.error().code,
                 "--ids " + options.ids_file + ": " + sequence.error().message};
  }
  const Interrupt interrupt;
  std::vector<scheduler::TokenScore> scores;
  while (engine.busy()) {
    if (interrupt.raised()) return Error{ErrorCode::kCancelled, "interrupted"};
    auto events = engine.step(after(std::chrono::seconds(limits::kTickSecondsMax)));
    if (!events) return events.error();
    for (scheduler::Event& event : *events) {
      if (event.error) return *event.error;
      std::move(event.scores.begin(), event.scores.end(), std::back_inserter(scores));
    }
  }
  if (scores.size() + 1 == ids.size()) return scores;
  return Error{ErrorCode::kInternal,
               fmt::format("{} of {} tokens were scored", scores.size(), ids.size() - 1)};
}

}  // namespace

Status run_score(const ScoreOptions& options, const Environment& environment, Console& console) {
  auto folder = find_model(options.model.model, environment);
  if (!folder) return folder.error();
  auto ids = read_ids(options, console);
  if (!ids) return ids.error();
  auto session = Session::open(options.model, *folder, console, options.json);
  if (!session) return session.error();
  auto scores = score_ids(session->engine(), options, *ids);
  if (!scores) return scores.error();
  return console.write(options.json ? as_json(*ids, *scores) : as_table(*ids, *scores));
}

}  // namespace tandem::cli
