#pragma once
// What every request is read by: the server's limits and the model's defaults.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tandem/tick.h"

namespace tandem::server {

/// Each has a flag of `tandem serve` where it is not OpenAI's own.
struct RequestLimits {
  int choices_max = 128;             // prompts x n of a request
  int stop_max = 16;                 // stop strings
  std::size_t stop_bytes_max = 256;  // of one stop string
  int prompt_tokens_max = 0;         // of one prompt; 0: the context
  int top_logprobs_max = 20;         // candidates with a token
  std::size_t messages_max = 8192;   // of a conversation
  std::size_t parts_max = 1024;      // of one message's content
  std::size_t tools_max = 128;
  std::size_t logit_bias_max = 1024;  // tokens
};

struct RequestRules {
  RequestLimits limits;
  SamplingParams defaults;                 // what a request does not say
  int chat_max_tokens = 0;                 // default of chats; 0: until the context is full
  std::int32_t vocabulary = 0;             // ids of logit_bias and of prompts
  std::vector<std::string> model_names;    // all that "model" may say; the first is the model's id
  bool template_tools = false;             // the chat template shows tools to the model
  bool template_reasoning_effort = false;  // the chat template reads reasoning_effort
  bool template_enable_thinking = false;   // the chat template reads enable_thinking
};

}  // namespace tandem::server
