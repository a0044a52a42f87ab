// Bodies of every POST route: a typed request whose every value is in its range, or 400 or 404 with
// one JSON error. The first byte picks the route.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "config/json.h"
#include "fuzz/fuzz.h"
#include "rules/sampling.h"
#include "server/api/chat_request.h"
#include "server/api/completion_request.h"
#include "server/api/reply_format.h"
#include "server/api/text_requests.h"
#include "server/output/tool_grammar.h"
#include "text/grammar.h"
#include "unit/text/tiny.h"

namespace {

using namespace tandem::server;
using tandem::fuzz::require;

constexpr std::int32_t kVocabulary = 261;
constexpr std::size_t kMaxErrorBytes = 4096;

RequestRules make_rules(std::uint8_t picks) {
  RequestRules rules;
  rules.vocabulary = kVocabulary;
  rules.model_names = {"demo", "tandem-demo"};
  rules.template_tools = (picks & 1) != 0;
  rules.template_reasoning_effort = (picks & 2) != 0;
  rules.template_enable_thinking = (picks & 4) != 0;
  return rules;
}

bool is_json(const std::string& text) {
  return tandem::config::parse_ordered_json(text, "written").ok();
}

void check_error(const ApiError& error) {
  require(error.status == 400 || error.status == 404);
  require(!error.message.empty() && error.type == "invalid_request_error");
  const std::string body = error_body(error);
  require(body.size() <= kMaxErrorBytes && is_json(body));
}

void check_options(const GenerationOptions& options, const RequestLimits& limits) {
  const tandem::SamplingParams& sampling = options.sampling;
  require(sampling.temperature >= 0 && sampling.temperature <= 2);
  require(sampling.top_p > 0 && sampling.top_p <= 1 && sampling.top_k >= 0);
  require(sampling.min_p >= 0 && sampling.min_p < 1);
  require(sampling.xtc_threshold >= 0 && sampling.xtc_threshold <= 0.5F);
  require(sampling.repetition_penalty >= 0 && sampling.repetition_penalty <= 100);
  require(sampling.repetition_context >= 0 && sampling.presence_context >= 0);
  require(sampling.logit_bias.size() <= limits.logit_bias_max);
  for (const auto& [id, bias] : sampling.logit_bias) {
    require(id >= 0 && id < kVocabulary && bias >= -100 && bias <= 100);
  }
  // What the API accepts, the stage accepts.
  require(tandem::rules::check_sampling(options.sampling, kVocabulary).ok());
  require(options.n >= 1 && options.n <= limits.choices_max);
  require(!options.max_tokens || *options.max_tokens >= 0);
  require(options.stop.size() <= static_cast<std::size_t>(limits.stop_max));
  for (const std::string& stop : options.stop) {
    require(!stop.empty() && stop.size() <= limits.stop_bytes_max);
  }
  require(!options.include_usage || options.stream);
}

/// What is written for templates is JSON and not much longer than the body (a control character is
/// six bytes there).
void check_prompt(const ChatPrompt& prompt, std::size_t body) {
  const std::size_t most = 6 * body + 200;
  for (const std::string* text : {&prompt.messages_json, &prompt.tools_json, &prompt.kwargs_json}) {
    require(text->size() <= most && (text->empty() || is_json(*text)));
  }
  require(!prompt.messages_json.empty());
  require(!prompt.continue_final_message || !prompt.add_generation_prompt);
}

const tandem::text::GrammarTokenizer& tokenizer() {
  static const auto made = [] {
    tandem::text::testing::TempFolder folder;
    folder.write("tokenizer.json", tandem::text::testing::byte_level_tokenizer());
    const auto loaded = tandem::text::Tokenizer::load(folder.path());
    return tandem::text::GrammarTokenizer::make(*loaded, kVocabulary).value();
  }();
  return made;
}

/// A list of choices is a language of exactly these texts, whatever their characters.
void follow_choices(const Json& choices, const std::string& pattern) {
  if (pattern.size() > 200) return;
  const auto grammar = tandem::text::Grammar::regex(tokenizer(), pattern);
  require(grammar.ok());
  for (const Json& choice : choices) {
    auto matcher = tandem::text::GrammarMatcher::start(*grammar);
    require(matcher.ok());
    for (const char byte : choice.get<std::string>()) {
      require(matcher->accept(static_cast<std::uint8_t>(byte)).ok());
    }
  }
}

void check_chat(ChatRequest& request, const Json& body, std::size_t size, std::uint8_t picks) {
  const RequestLimits limits;
  check_options(request.options, limits);
  check_prompt(request.prompt, size);
  require(!request.logprobs ||
          (*request.logprobs >= 0 && *request.logprobs <= limits.top_logprobs_max));
  using Kind = OutputGrammar::Kind;
  require((request.grammar.kind == Kind::kNone) == request.grammar.param.empty());
  if (request.grammar.param == "structured_outputs.choice") {
    follow_choices(body.at("structured_outputs").at("choice"), request.grammar.source);
  }
  using Choice = ToolRequest::Choice;
  if (request.tools.choice == Choice::kNone || request.tools.tools.empty()) return;
  ToolChoice choice;
  choice.required = request.tools.choice != Choice::kAuto;
  if (request.tools.choice == Choice::kNamed) choice.name = request.tools.name;
  choice.parallel = request.tools.parallel;
  const OutputFormat format = {.tools = static_cast<ToolSyntax>(1 + picks % 8),
                               .reasoning = ReasoningSyntax::kThink};
  const auto grammar = tool_grammar(format, request.tools.tools, choice);
  if (!grammar) tandem::fuzz::require_refusal(grammar.error());
}

void check_completion(CompletionRequest& request) {
  const RequestLimits limits;
  check_options(request.options, limits);
  require(!request.prompts.empty());
  require(request.prompts.size() * static_cast<std::size_t>(request.options.n) <=
          static_cast<std::size_t>(limits.choices_max));
  for (const Prompt& prompt : request.prompts) {
    std::visit([](const auto& one) { require(!one.empty()); }, prompt);
    const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt);
    if (ids == nullptr) continue;
    for (const std::int32_t id : *ids) require(id >= 0 && id < kVocabulary);
  }
}

/// The refusal, or nothing.
std::optional<ApiError> parse(const Json& body, std::size_t size, std::uint8_t route) {
  const std::uint8_t picks = route / 5;
  const RequestRules rules = make_rules(picks);
  const auto check = [](auto result, auto checks) -> std::optional<ApiError> {
    if (!result) return result.error();
    checks(*result);
    return std::nullopt;
  };
  switch (route % 5) {
    case 0:
      return check(parse_chat(body, rules),
                   [&](ChatRequest& request) { check_chat(request, body, size, picks); });
    case 1:
      return check(parse_completion(body, rules), check_completion);
    case 2:
      return check(parse_tokenize(body, rules),
                   [&](TokenizeRequest& request) { require(request.text.size() <= size); });
    case 3:
      return check(parse_detokenize(body, rules), [](DetokenizeRequest& request) {
        for (const std::int32_t id : request.tokens) require(id >= 0 && id < kVocabulary);
      });
    default:
      return check(parse_apply_template(body, rules),
                   [&](ChatPrompt& prompt) { check_prompt(prompt, size); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::fuzz::Input input(data, size);
  const std::uint8_t route = input.byte();
  auto body = tandem::config::parse_ordered_json(input.rest(), "the request body");
  if (!body) {
    tandem::fuzz::require_refusal(body.error());
    return 0;
  }
  const auto refused = parse(*body, size, route);
  if (refused) check_error(*refused);
  // Another way of writing the same body changes nothing.
  const std::string written = dump(*body);
  auto again = tandem::config::parse_ordered_json(written, "the request body");
  require(again.ok());
  const auto refused_again = parse(*again, written.size(), route);
  require(refused.has_value() == refused_again.has_value());
  require(!refused || refused->message == refused_again->message);
  return 0;
}
