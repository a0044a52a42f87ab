#include "server/api/chat_request.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "server/api/chat_messages.h"

namespace tandem::server {
namespace {

constexpr const char* kTemplateKwargs = "chat_template_kwargs";
/// Most variables of a template, and bytes of all of them: enough for documents of a search.
constexpr std::size_t kVariablesMax = 128;
constexpr std::size_t kVariableBytesMax = 1U << 20;
/// Variables that other fields set.
constexpr std::string_view kOwnVariables[] = {"messages", "tools", "documents",
                                              "add_generation_prompt", "continue_final_message"};

/// chat_template_kwargs, and reasoning_effort for the templates that know a word for it.
std::string read_template_kwargs(Fields& fields, const RequestRules& rules) {
  Json kwargs = Json::object();
  if (const Json* given = fields.object(kTemplateKwargs)) {
    if (given->size() > kVariablesMax || given->dump().size() > kVariableBytesMax) {
      fields.fail(invalid_value(
          kTemplateKwargs, fmt::format("Invalid '{}': at most {} variables of {} bytes in all.",
                                       kTemplateKwargs, kVariablesMax, kVariableBytesMax)));
      return {};
    }
    kwargs = *given;
  }
  for (const std::string_view name : kOwnVariables) {
    if (!kwargs.contains(name)) continue;
    fields.fail(invalid_value(
        fmt::format("{}.{}", kTemplateKwargs, name),
        fmt::format("'{}' cannot set '{}', which has a field of its own.", kTemplateKwargs, name)));
  }
  const auto effort =
      fields.choice("reasoning_effort", {"none", "minimal", "low", "medium", "high", "xhigh"});
  if (effort && rules.template_reasoning_effort) {
    kwargs["reasoning_effort"] = *effort;
  } else if (effort && rules.template_enable_thinking) {
    kwargs["enable_thinking"] = *effort != "none";
  } else if (effort) {
    fields.refuse("reasoning_effort", "it is not supported with this model.");
  }
  return kwargs.empty() ? std::string() : kwargs.dump();
}

ChatPrompt read_prompt(Fields& fields, const RequestRules& rules) {
  ChatPrompt prompt;
  const Messages messages = read_messages(fields, rules.limits);
  prompt.messages_json = messages.json;
  prompt.kwargs_json = read_template_kwargs(fields, rules);
  prompt.continue_final_message = fields.boolean("continue_final_message").value_or(false);
  prompt.add_generation_prompt =
      fields.boolean("add_generation_prompt").value_or(!prompt.continue_final_message);
  if (prompt.continue_final_message && prompt.add_generation_prompt) {
    fields.fail(invalid_value("continue_final_message",
                              "'continue_final_message' cannot be used with "
                              "'add_generation_prompt'."));
  }
  if (prompt.continue_final_message && !messages.ends_with_assistant) {
    fields.fail(invalid_value("continue_final_message",
                              "'continue_final_message' needs a last message of the assistant."));
  }
  return prompt;
}

std::optional<int> read_logprobs(Fields& fields, const RequestLimits& limits) {
  const bool wanted = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, limits.top_logprobs_max);
  if (wanted) return static_cast<int>(top.value_or(0));
  if (top.value_or(0) > 0) {
    fields.fail(invalid_value("top_logprobs",
                              "The 'top_logprobs' parameter is only allowed when "
                              "'logprobs' is enabled."));
  }
  return std::nullopt;
}

/// Fields that OpenAI has and that stand for what this server does not do.
void refuse_foreign(Fields& fields) {
  fields.refuse("functions", "it is deprecated; use 'tools'.");
  fields.refuse("function_call", "it is deprecated; use 'tool_choice'.");
  fields.refuse("audio", "this model writes text only.");
  fields.refuse("prediction", "predicted outputs are not supported.");
  fields.refuse("web_search_options", "this server does not search the web.");
  fields.refuse("verbosity", "it is not supported with this model.");
  fields.refuse("moderation", "this server does not moderate.");
  fields.refuse("role_mapping", "the model's chat template names the roles.");
  const Json* modalities = fields.array("modalities", 8);
  if (modalities != nullptr && *modalities != Json::array({"text"})) {
    fields.refuse("modalities", "this model writes text only.");
  }
}

}  // namespace

ApiResult<ChatRequest> parse_chat(const Json& body, const RequestRules& rules) {
  Fields fields(body);
  ChatRequest request;
  request.options = read_generation(fields, rules, 1);
  request.prompt = read_prompt(fields, rules);
  request.tools = read_tools(fields, rules.limits);
  request.grammar = read_output_grammar(fields);
  request.logprobs = read_logprobs(fields, rules.limits);
  request.split_reasoning =
      fields.choice("reasoning_format", {"auto", "none", "deepseek"}).value_or("auto") != "none";
  refuse_foreign(fields);
  const bool forced = request.tools.choice == ToolRequest::Choice::kRequired ||
                      request.tools.choice == ToolRequest::Choice::kNamed;
  if (forced && request.grammar.kind != OutputGrammar::Kind::kNone) {
    fields.fail(invalid_value("tool_choice",
                              "'tool_choice' that forces a call cannot be used with a "
                              "structured output."));
  }
  if (request.tools.choice == ToolRequest::Choice::kAuto && !rules.template_tools) {
    fields.refuse("tools",
                  "this model's chat template shows it no tools, or has calls that this server "
                  "does not read; a 'tool_choice' that forces a call works.");
  }
  fields.finish();
  if (fields.failed()) return fields.error();
  if (request.tools.choice != ToolRequest::Choice::kNone) {
    request.prompt.tools_json = request.tools.json;
  }
  return request;
}

ApiResult<ChatPrompt> parse_apply_template(const Json& body, const RequestRules& rules) {
  Fields fields(body);
  read_model(fields, rules);
  ChatPrompt prompt = read_prompt(fields, rules);
  prompt.tools_json = read_tools(fields, rules.limits).json;
  fields.finish();
  if (fields.failed()) return fields.error();
  return prompt;
}

}  // namespace tandem::server
