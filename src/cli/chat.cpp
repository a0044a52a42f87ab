// `tandem chat`: a conversation on the terminal.

#include <fmt/format.h>

#include <csignal>
#include <ctime>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/generation.h"
#include "cli/model_folder.h"
#include "cli/prompt.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/values.h"

namespace tandem::cli {
namespace {

constexpr const char* kHelp =
    "/exit or Ctrl-D ends, /reset forgets the conversation, /help prints this; Ctrl-C stops an "
    "answer\n";

/// What stays the same from turn to turn.
class Conversation {
 public:
  Conversation(const ChatOptions& options, const text::Tokenizer& tokenizer,
               const text::ChatTemplate& chat_template, Session& session, Console& console)
      : options_(options),
        tokenizer_(tokenizer),
        template_(chat_template),
        session_(session),
        console_(console) {
    reset();
  }

  void reset() {
    messages_.clear();
    if (const auto& system = options_.chat_template.system_prompt) {
      messages_.push_back({"system", *system});
    }
  }

  /// Answers one line and remembers both. A line that cannot be answered is forgotten again; errors
  /// of the pipeline end the conversation.
  Status answer(const std::string& line, Interrupt& interrupt) {
    messages_.push_back({"user", line});
    auto request = next_request();
    if (!request) return forget(request.error());
    const auto print = [this](std::string_view piece) { return console_.write(piece); };
    auto answer = run_request(session_.engine(), std::move(*request), tokenizer_, print, interrupt);
    if (!answer) return forget(answer.error());
    messages_.push_back({"assistant", answer->text});
    return console_.write("\n");
  }

 private:
  Result<scheduler::Request> next_request() {
    scheduler::Request request;
    auto ids = encode_messages(tokenizer_, template_, messages_, options_.chat_template.config,
                               std::time(nullptr));
    if (!ids) return ids.error();
    request.prompt = std::move(*ids);
    auto stops = stop_ids(tokenizer_, options_.sampling.extra_eos_tokens);
    if (!stops) return stops.error();
    request.stop_ids = std::move(*stops);
    auto sampling = sampling_params(options_.sampling, tokenizer_, random_());
    if (!sampling) return sampling.error();
    request.sampling = std::move(*sampling);
    request.max_tokens = options_.sampling.max_tokens;
    if (request.max_tokens < 0) request.max_tokens = session_.engine().context_max();
    return request;
  }

  /// The user's own mistakes (a conversation longer than the context, say) are told and forgotten.
  Status forget(const Error& error) {
    messages_.pop_back();
    const bool mistake =
        error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kResourceLimit;
    if (!mistake) return error;
    console_.note(fmt::format("{} (/reset starts anew)\n", error.message));
    return {};
  }

  const ChatOptions& options_;
  const text::Tokenizer& tokenizer_;
  const text::ChatTemplate& template_;
  Session& session_;
  Console& console_;
  std::random_device random_;
  std::vector<Message> messages_;
};

/// True when the line was a command and is done with.
bool run_command(const std::string& line, Conversation& conversation, Console& console) {
  if (line == "/help") {
    console.note(kHelp);
  } else if (line == "/reset") {
    conversation.reset();
    console.note("the conversation is forgotten\n");
  } else {
    return line.find_first_not_of(" \t\r") == std::string::npos;
  }
  return true;
}

Status converse(Conversation& conversation, Console& console) {
  Interrupt interrupt;
  const bool terminal = console.input_is_terminal() && console.error_is_terminal();
  for (;;) {
    if (terminal) console.note("\n> ");
    auto line = console.read_line(limits::kChatLineBytesMax, interrupt.descriptor());
    if (!line && line.error().code == ErrorCode::kCancelled) {
      if (interrupt.signal() != SIGINT || !terminal) return line.error();
      interrupt.clear();
      console.note("\n" + std::string(kHelp));
      continue;
    }
    if (!line) return line.error();
    const std::string text = line->value_or("/exit");
    if (text == "/exit") break;
    if (run_command(text, conversation, console)) continue;
    if (!is_utf8(text)) {
      console.note("the line is not valid UTF-8\n");
      continue;
    }
    if (auto status = conversation.answer(text, interrupt); !status.ok()) return status;
    if (interrupt.signal() == SIGTERM) return Error{ErrorCode::kCancelled, "interrupted"};
    interrupt.clear();
  }
  if (terminal) console.note("\n");
  return {};
}

}  // namespace

Status run_chat(const ChatOptions& options, const Environment& environment, Console& console) {
  auto folder = find_model(options.model.model, environment);
  if (!folder) return folder.error();
  auto tokenizer = text::Tokenizer::load(*folder);
  if (!tokenizer) return tokenizer.error();
  auto chat_template = text::ChatTemplate::load(*folder, *tokenizer);
  if (!chat_template) return chat_template.error();
  // Before the model is loaded: a wrong flag should not cost a minute.
  if (auto stops = stop_ids(*tokenizer, options.sampling.extra_eos_tokens); !stops) {
    return stops.error();
  }
  auto session = Session::open(options.model, *folder, console, false);
  if (!session) return session.error();
  console.note(kHelp);
  Conversation conversation(options, *tokenizer, *chat_template, *session, console);
  return converse(conversation, console);
}

}  // namespace tandem::cli
