#include "cli/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/values.h"

namespace tandem::cli {

Result<std::vector<std::int32_t>> encode_messages(const text::Tokenizer& tokenizer,
                                                  const text::ChatTemplate& chat_template,
                                                  const std::vector<Message>& messages,
                                                  const std::optional<std::string>& config,
                                                  std::time_t now) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Message& message : messages) {
    json.push_back({{"role", message.role}, {"content", message.content}});
  }
  const bool continued = !messages.empty() && messages.back().role == "assistant";
  text::ChatTemplate::Options options;
  options.add_generation_prompt = !continued;
  options.continue_final_message = continued;
  options.kwargs_json = config.value_or("");
  options.now = now;
  auto rendered = chat_template.render(json.dump(), options);
  if (!rendered) return rendered.error();
  return tokenizer.encode(*rendered, false);
}

Result<std::vector<std::int32_t>> stop_ids(const text::Tokenizer& tokenizer,
                                           const std::vector<std::string>& extra) {
  std::vector<std::int32_t> ids = tokenizer.eos_ids();
  for (const std::string& token : extra) {
    const auto id = is_utf8(token) ? tokenizer.token_to_id(token) : std::nullopt;
    if (!id) {
      return invalid(
          fmt::format("--extra-eos-token: {} is not a token of this model", in_quotes(token)));
    }
    ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Result<SamplingParams> sampling_params(const SamplingOptions& options,
                                       const text::Tokenizer& tokenizer,
                                       std::uint64_t random_seed) {
  SamplingParams params = options.params;
  if (params.top_p == 0) params.top_p = 1;
  params.seed = options.seed.value_or(random_seed);
  if (params.xtc_probability > 0) {
    auto line_end = tokenizer.encode("\n", true);
    if (!line_end) return line_end.error();
    params.xtc_special_tokens = *line_end;
    const auto& eos = tokenizer.eos_ids();
    params.xtc_special_tokens.insert(params.xtc_special_tokens.end(), eos.begin(), eos.end());
  }
  return params;
}

}  // namespace tandem::cli
