#include "server/api/generation_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "rules/sampling.h"

namespace tandem::server {
namespace {

/// Stands for top_p 0: nothing but the likeliest token.
constexpr float kLeastTopP = 1e-6F;
constexpr int kTokensMax = 1 << 30;
constexpr int kContextMax = 1 << 24;  // of penalties, tokens
constexpr int kPriorityMax = 100;

// OpenAI's ranges, narrower than what the sampler takes.
constexpr rules::Range kTemperature{0, 2};
constexpr rules::Range kPenalty{-2, 2};

void read_float(Fields& fields, std::string_view name, float& target, const rules::Range& range) {
  const auto value =
      fields.number(name, static_cast<double>(range.min), static_cast<double>(range.max));
  if (value) target = static_cast<float>(*value);
}

void read_count(Fields& fields, std::string_view name, std::int32_t& target, int min, int max) {
  if (const auto value = fields.integer(name, min, max)) target = static_cast<std::int32_t>(*value);
}

void read_logit_bias(Fields& fields, const RequestRules& rules, SamplingParams& params) {
  constexpr const char* kName = "logit_bias";
  const Json* object = fields.object(kName);
  if (object == nullptr) return;
  if (object->size() > rules.limits.logit_bias_max) {
    fields.fail(invalid_value(kName, fmt::format("Invalid 'logit_bias': at most {} tokens.",
                                                 rules.limits.logit_bias_max)));
    return;
  }
  for (const auto& [key, value] : object->items()) {
    std::int32_t id = -1;
    const char* const end = key.data() + key.size();
    const auto [stopped, status] = std::from_chars(key.data(), end, id);
    // One key for one token: no leading zeros.
    const bool plain = status == std::errc() && stopped == end && fmt::to_string(id) == key;
    const bool known = plain && id >= 0 && id < rules.vocabulary;
    if (!known) {
      fields.fail(invalid_value(
          kName,
          fmt::format("Invalid key in 'logit_bias': token ids are in [0, {}).", rules.vocabulary)));
      return;
    }
    constexpr auto kMost = static_cast<double>(rules::kLogitBias.max);
    if (!value.is_number() || std::abs(value.get<double>()) > kMost) {
      fields.fail(
          invalid_value(kName, fmt::format("Invalid 'logit_bias' of token {}: must be in [{}, {}].",
                                           id, -kMost, kMost)));
      return;
    }
    params.logit_bias.emplace_back(id, value.get<float>());
  }
}

void read_penalties(Fields& fields, SamplingParams& params) {
  read_float(fields, "repetition_penalty", params.repetition_penalty, rules::kRepetitionPenalty);
  read_float(fields, "presence_penalty", params.presence_penalty, kPenalty);
  read_float(fields, "frequency_penalty", params.frequency_penalty, kPenalty);
  read_count(fields, "repetition_context_size", params.repetition_context, 0, kContextMax);
  // OpenAI's two count the whole text; mlx-lm's own default is the last 20 tokens.
  params.presence_context = 0;
  params.frequency_context = 0;
  read_count(fields, "presence_context_size", params.presence_context, 0, kContextMax);
  read_count(fields, "frequency_context_size", params.frequency_context, 0, kContextMax);
}

SamplingParams read_sampling(Fields& fields, const RequestRules& rules) {
  SamplingParams params = rules.defaults;
  read_float(fields, "temperature", params.temperature, kTemperature);
  read_float(fields, "top_p", params.top_p, rules::kTopP);
  if (params.top_p <= 0) params.top_p = kLeastTopP;
  // -1 is vLLM's word for off.
  read_count(fields, "top_k", params.top_k, -1, std::numeric_limits<std::int32_t>::max());
  params.top_k = std::max(params.top_k, 0);
  read_float(fields, "min_p", params.min_p, rules::kMinP);
  read_float(fields, "xtc_probability", params.xtc_probability, rules::kXtcProbability);
  read_float(fields, "xtc_threshold", params.xtc_threshold, rules::kXtcThreshold);
  read_penalties(fields, params);
  read_logit_bias(fields, rules, params);
  if (auto status = rules::check_sampling(params, rules.vocabulary); !status.ok()) {
    const std::string& message = status.error().message;  // begins with the field
    fields.fail(invalid_value(message.substr(0, message.find_first_of(" :")),
                              fmt::format("Invalid value: {}.", message)));
  }
  return params;
}

void read_stop(Fields& fields, const RequestLimits& limits, GenerationOptions& options) {
  const Json* stop = fields.value("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) {
    options.stop.push_back(stop->get<std::string>());
  } else if (stop->is_array()) {
    stop = fields.array("stop", static_cast<std::size_t>(limits.stop_max));
    if (stop == nullptr) return;
    for (const Json& one : *stop) {
      if (!one.is_string()) return fields.wrong_type("stop", "a string or an array of strings");
      options.stop.push_back(one.get<std::string>());
    }
  } else {
    return fields.wrong_type("stop", "a string or an array of strings");
  }
  for (const std::string& one : options.stop) {
    if (!one.empty() && one.size() <= limits.stop_bytes_max) continue;
    fields.fail(invalid_value(
        "stop",
        fmt::format("Invalid 'stop': a stop string has 1 to {} bytes.", limits.stop_bytes_max)));
  }
}

void read_stream(Fields& fields, GenerationOptions& options) {
  options.stream = fields.boolean("stream").value_or(false);
  auto stream_options = fields.nested("stream_options");
  if (!stream_options) return;
  if (!options.stream) {
    fields.fail(invalid_value("stream_options",
                              "The 'stream_options' parameter is only allowed when 'stream' is "
                              "enabled."));
    return;
  }
  options.include_usage = stream_options->boolean("include_usage").value_or(false);
  // Padding against traffic analysis, which this server does not add.
  if (stream_options->boolean("include_obfuscation").value_or(false)) {
    stream_options->refuse("include_obfuscation", "this server adds no obfuscation.");
  }
  stream_options->finish();
}

/// What OpenAI's SDKs offer for every request and what does not bear on the answer.
void read_inert(Fields& fields) {
  for (const char* text :
       {"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}) {
    fields.string(text);
  }
  fields.object("metadata");
  fields.object("prompt_cache_options");
  fields.choice("service_tier", {"auto", "default"});
  if (fields.boolean("store").value_or(false)) {
    fields.refuse("store", "this server stores no requests.");
  }
}

void refuse_known(Fields& fields) {
  constexpr std::string_view kLoaded = "the server runs the model that it was started with.";
  for (const char* name : {"adapters", "draft_model", "num_draft_tokens"}) {
    fields.refuse(name, kLoaded);
  }
  for (const char* name :
       {"typical_p", "mirostat", "dry_multiplier", "dynatemp_range", "min_tokens", "bad_words",
        "length_penalty", "use_beam_search", "logits_processors", "n_predict", "id_slot"}) {
    fields.refuse(name, "it is not supported by this server.");
  }
}

}  // namespace

void read_model(Fields& fields, const RequestRules& rules) {
  const auto model = fields.string("model");
  if (!model || std::ranges::find(rules.model_names, *model) != rules.model_names.end()) return;
  fields.fail({.status = 404,
               .message = fmt::format("The model '{}' does not exist; this server has '{}'.",
                                      model->substr(0, 100), rules.model_names.front()),
               .param = "model",
               .code = "model_not_found"});
}

bool is_token_id(const Json& value, std::int32_t vocabulary) {
  // Integers over 63 bits come out negative here.
  return value.is_number_integer() && value.get<std::int64_t>() >= 0 &&
         value.get<std::int64_t>() < vocabulary;
}

GenerationOptions read_generation(Fields& fields, const RequestRules& rules, int tokens_min) {
  GenerationOptions options;
  read_model(fields, rules);
  options.sampling = read_sampling(fields, rules);
  if (const auto seed = fields.integer("seed", std::numeric_limits<std::int64_t>::min(),
                                       std::numeric_limits<std::int64_t>::max())) {
    options.seed = static_cast<std::uint64_t>(*seed);
  }
  constexpr auto kAny = std::numeric_limits<std::int64_t>::max();
  const auto max_tokens = fields.integer("max_tokens", tokens_min, kAny);
  const auto newer = fields.integer("max_completion_tokens", tokens_min, kAny);
  if (newer || max_tokens) {
    options.max_tokens =
        static_cast<int>(std::min<std::int64_t>(kTokensMax, newer ? *newer : *max_tokens));
  }
  options.n = static_cast<int>(fields.integer("n", 1, rules.limits.choices_max).value_or(1));
  options.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  options.priority =
      static_cast<int>(fields.integer("priority", -kPriorityMax, kPriorityMax).value_or(0));
  read_stop(fields, rules.limits, options);
  read_stream(fields, options);
  read_inert(fields);
  refuse_known(fields);
  return options;
}

}  // namespace tandem::server
