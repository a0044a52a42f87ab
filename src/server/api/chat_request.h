#pragma once
// POST /v1/chat/completions and /apply-template -> typed requests.

#include <optional>
#include <string>

#include "server/api/api_error.h"
#include "server/api/generation_fields.h"
#include "server/api/output_rules.h"

namespace tandem::server {

/// What becomes the prompt.
struct ChatPrompt {
  std::string messages_json;  // see chat_messages.h
  std::string tools_json;     // "" without tools
  std::string kwargs_json;    // "" or a JSON object of further template variables
  bool add_generation_prompt = true;
  bool continue_final_message = false;
};

struct ChatRequest {
  GenerationOptions options;
  ChatPrompt prompt;
  ToolRequest tools;
  OutputGrammar grammar;
  std::optional<int> logprobs;  // candidates with each token; nullopt: no log-probabilities
  bool split_reasoning = true;
};

ApiResult<ChatRequest> parse_chat(const Json& body, const RequestRules& rules);
/// messages, tools and template variables alone.
ApiResult<ChatPrompt> parse_apply_template(const Json& body, const RequestRules& rules);

}  // namespace tandem::server
