// `tandem generate`: one answer.

#include <fmt/format.h>

#include <ctime>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/generation.h"
#include "cli/json_output.h"
#include "cli/model_folder.h"
#include "cli/prompt.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/values.h"

namespace tandem::cli {
namespace {

/// -p, or standard input.
Result<std::string> prompt_text(const GenerateOptions& options, Console& console) {
  const bool given = options.prompt && *options.prompt != "-";
  std::string prompt;
  if (given) {
    prompt = unescape_prompt(*options.prompt);
  } else {
    if (console.input_is_terminal()) console.note("reading the prompt; Ctrl-D ends it\n");
    auto text = console.read_all(limits::kPromptBytesMax);
    if (!text) return text.error();
    prompt = std::move(*text);
  }
  const char* const where = given ? "--prompt" : "standard input";
  if (prompt.empty()) return invalid(fmt::format("{}: the prompt is empty", where));
  if (!is_utf8(prompt)) return invalid(fmt::format("{}: the prompt is not valid UTF-8", where));
  return prompt;
}

/// Flags that only a chat template gives a meaning.
Status check_no_template(const GenerateOptions& options) {
  const auto refuse = [](const char* flag) {
    return invalid(fmt::format("{}: this model has no chat template", flag));
  };
  if (options.chat_template.system_prompt) return refuse("--system-prompt");
  if (options.prefill_response) return refuse("--prefill-response");
  if (options.chat_template.config) return refuse("--chat-template-config");
  return {};
}

Result<std::vector<std::int32_t>> prompt_ids(const GenerateOptions& options,
                                             const std::filesystem::path& folder,
                                             const text::Tokenizer& tokenizer, Console& console) {
  if (options.prompt_ids) {
    auto ids = parse_ids(*options.prompt_ids);
    if (!ids) return invalid("--prompt-ids: " + ids.error().message);
    return ids;
  }
  auto prompt = prompt_text(options, console);
  if (!prompt) return prompt.error();
  if (options.ignore_chat_template) return tokenizer.encode(*prompt, true);
  auto chat_template = text::ChatTemplate::load(folder, tokenizer);
  if (!chat_template && chat_template.error().code == ErrorCode::kNotFound) {
    if (auto status = check_no_template(options); !status.ok()) return status.error();
    return tokenizer.encode(*prompt, true);
  }
  if (!chat_template) return chat_template.error();
  std::vector<Message> messages;
  if (const auto& system = options.chat_template.system_prompt) {
    messages.push_back({"system", *system});
  }
  messages.push_back({"user", *prompt});
  if (options.prefill_response) messages.push_back({"assistant", *options.prefill_response});
  return encode_messages(tokenizer, *chat_template, messages, options.chat_template.config,
                         std::time(nullptr));
}

Status print_answer(const GenerateOptions& options, const Answer& answer, Session& session,
                    Console& console) {
  const auto ranks = session.pipeline().ranks();
  if (options.json) return console.write(json_text(answer_json(answer, ranks)) + "\n");
  if (auto status = console.write("\n"); !status.ok()) return status;
  if (options.verbose) console.note(speed_lines(answer, ranks));
  return {};
}

}  // namespace

Status run_generate(const GenerateOptions& options, const Environment& environment,
                    Console& console) {
  auto folder = find_model(options.model.model, environment);
  if (!folder) return folder.error();
  auto tokenizer = text::Tokenizer::load(*folder);
  if (!tokenizer) return tokenizer.error();
  scheduler::Request request;
  auto ids = prompt_ids(options, *folder, *tokenizer, console);
  if (!ids) return ids.error();
  request.prompt = std::move(*ids);
  auto stops = stop_ids(*tokenizer, options.sampling.extra_eos_tokens);
  if (!stops) return stops.error();
  request.stop_ids = std::move(*stops);
  std::random_device random;
  auto sampling = sampling_params(options.sampling, *tokenizer, random());
  if (!sampling) return sampling.error();
  request.sampling = std::move(*sampling);

  auto session = Session::open(options.model, *folder, console, options.json || !options.verbose);
  if (!session) return session.error();
  request.max_tokens = options.sampling.max_tokens;
  if (request.max_tokens < 0) request.max_tokens = session->engine().context_max();
  const Interrupt interrupt;
  const auto print = [&](std::string_view piece) {
    return options.json ? Status() : console.write(piece);
  };
  auto answer = run_request(session->engine(), std::move(request), *tokenizer, print, interrupt);
  if (!answer) return answer.error();
  if (interrupt.raised()) {
    if (!options.json) static_cast<void>(console.write("\n"));
    return Error{ErrorCode::kCancelled, "interrupted"};
  }
  return print_answer(options, *answer, *session, console);
}

}  // namespace tandem::cli
