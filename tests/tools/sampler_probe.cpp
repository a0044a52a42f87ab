// Applies penalties and filters to rows of logits for the comparison with mlx-lm.
// In: one JSON object a line: logits, history, params. Out: penalized logits and the ids left.

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rules/sampling.h"
#include "stage/distribution.h"
#include "stage/filters.h"
#include "stage/penalties.h"

namespace {

using nlohmann::json;

tandem::SamplingParams read_params(const json& fields) {
  tandem::SamplingParams params;
  params.temperature = 1;
  params.top_p = fields.value("top_p", params.top_p);
  params.top_k = fields.value("top_k", params.top_k);
  params.min_p = fields.value("min_p", params.min_p);
  params.min_tokens_to_keep = fields.value("min_tokens_to_keep", params.min_tokens_to_keep);
  params.xtc_probability = fields.value("xtc_probability", params.xtc_probability);
  params.xtc_threshold = fields.value("xtc_threshold", params.xtc_threshold);
  params.xtc_special_tokens = fields.value("xtc_special_tokens", params.xtc_special_tokens);
  params.repetition_penalty = fields.value("repetition_penalty", params.repetition_penalty);
  params.repetition_context = fields.value("repetition_context", params.repetition_context);
  params.presence_penalty = fields.value("presence_penalty", params.presence_penalty);
  params.presence_context = fields.value("presence_context", params.presence_context);
  params.frequency_penalty = fields.value("frequency_penalty", params.frequency_penalty);
  params.frequency_context = fields.value("frequency_context", params.frequency_context);
  params.logit_bias = fields.value("logit_bias", params.logit_bias);
  return params;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    auto logits = request.at("logits").get<std::vector<float>>();
    const auto history = request.at("history").get<std::vector<std::int32_t>>();
    const auto params = read_params(request.at("params"));
    const auto good =
        tandem::rules::check_sampling(params, static_cast<std::int32_t>(logits.size()));
    if (!good.ok()) {
      std::cerr << good.error().message << '\n';
      return 1;
    }
    tandem::stage::Penalties().apply(logits, params, history, 0);
    json answer = {{"penalized", logits}, {"ids", json::array()}};
    const auto softmax = tandem::stage::softmax(logits);
    for (float& logit : logits) logit = softmax->logprob(logit);
    answer["logprobs"] = logits;
    for (const auto& left : tandem::stage::filter(logits, params, 0)) {
      answer["ids"].push_back(left.id);
    }
    std::cout << answer.dump() << '\n';
  }
  return 0;
}
