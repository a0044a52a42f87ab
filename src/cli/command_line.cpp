#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <utility>

#include "cli/flags.h"
#include "cli/values.h"
#include "config/hosts.h"
#include "config/message.h"

namespace tandem::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  tandem generate -p "What is the package nginx?"        the embedded model answers
  tandem generate ~/models/Llama-3.2-1B-Instruct-4bit -p "Hello" --ranks 2
  tandem generate mlx-community/Qwen3-8B-4bit -p - --hosts 10.0.0.1,10.0.0.2 < prompt.txt
  tandem chat mlx-community/Qwen3-8B-4bit --system-prompt "Answer in one sentence."
  tandem worker --listen 10.0.0.2:4820 --cluster-key-file key
  tandem bench ~/models/Llama-3.2-1B-Instruct-4bit -p 512 -n 128 -r 5 --json

`tandem COMMAND --help` lists the command's flags and examples.)";

/// Options of every command while CLI11 fills them.
struct Parsed {
  GenerateOptions generate;
  ChatOptions chat;
  ScoreOptions score;
  BenchOptions bench;
  BenchMemoryOptions bench_memory;
  WorkerCommand worker;
};

CLI::App* command(CLI::App& app, const std::string& name, const std::string& help,
                  const std::string& examples) {
  CLI::App* sub = app.add_subcommand(name, help);
  sub->footer("Examples:\n" + examples);
  return sub;
}

void add_generate(CLI::App& app, GenerateOptions& options) {
  CLI::App& sub = *command(app, "generate", "Answer one prompt on the terminal",
                           "  tandem generate -p \"What is the package nginx?\"\n"
                           "  echo \"Hello\" | tandem generate MODEL --ranks 2\n"
                           "  tandem generate MODEL --prompt-ids 1,2,3 -m 32 --json");
  add_model_flags(sub, options.model);
  sub.add_option("--prompt,-p", options.prompt,
                 "The prompt; absent or \"-\": standard input. \\n and \\t are understood")
      ->type_name("TEXT");
  sub.add_option("--prompt-ids", options.prompt_ids,
                 "The prompt as token ids, past tokenizer and template: 1,2,3")
      ->type_name("IDS");
  options.sampling.max_tokens = limits::kMaxTokensGenerate;
  add_sampling_flags(sub, options.sampling);
  add_template_flags(sub, options.chat_template);
  sub.add_option("--prefill-response", options.prefill_response, "How the answer begins")
      ->type_name("TEXT");
  sub.add_flag("--ignore-chat-template", options.ignore_chat_template,
               "Give the prompt to the model as it stands");
  choice_flag<bool>(sub, "--verbose", "False: print the answer only [True]",
                    {{"True", true},
                     {"T", true},
                     {"False", false},
                     {"F", false},
                     {"true", true},
                     {"false", false}},
                    [&options](bool verbose) { options.verbose = verbose; })
      ->type_name("True|False");
  sub.add_flag("--json", options.json, "Print one JSON object");
}

void add_chat(CLI::App& app, ChatOptions& options) {
  CLI::App& sub = *command(app, "chat", "A conversation; /exit or Ctrl-D ends it",
                           "  tandem chat\n"
                           "  tandem chat MODEL --temp 0.7 --system-prompt \"Be brief.\"");
  add_model_flags(sub, options.model);
  options.sampling.max_tokens = limits::kMaxTokensChat;
  add_sampling_flags(sub, options.sampling);
  add_template_flags(sub, options.chat_template);
}

void add_score(CLI::App& app, ScoreOptions& options) {
  CLI::App& sub = *command(app, "score", "Log-probabilities of given token ids",
                           "  echo \"[1, 2, 3]\" > ids.json\n"
                           "  tandem score MODEL --ids ids.json --top-logprobs 5 --json");
  add_model_flags(sub, options.model);
  sub.add_option("--ids", options.ids_file,
                 "File with a JSON list of token ids; \"-\": standard input")
      ->type_name("FILE")
      ->required();
  integer_flag(sub, "--top-logprobs", options.top_logprobs, 0, limits::kTopLogprobsMax,
               "Likeliest candidates to list with each token");
  sub.add_flag("--json", options.json, "Print one JSON object");
}

void add_bench(CLI::App& app, Parsed& parsed) {
  CLI::App& sub = *command(app, "bench", "Prompt and decode speed of a model, or of the machine",
                           "  tandem bench MODEL -p 512 -n 128 -r 5 --ranks 2 --threads 1 --json\n"
                           "  tandem bench memory");
  BenchOptions& options = parsed.bench;
  add_model_flags(sub, options.model);
  integer_flag(sub, "--prompt-tokens,-p", options.prompt, 1, limits::kBenchTokensMax,
               "Random prompt tokens of each request");
  integer_flag(sub, "--generate-tokens,-n", options.generate, 1, limits::kBenchTokensMax,
               "Tokens that each request generates");
  integer_flag(sub, "--repeats,-r", options.repeats, 1, limits::kBenchRepeatsMax,
               "Measured runs, after one that is not");
  integer_flag(sub, "--concurrency", options.concurrency, 1, limits::kBenchConcurrencyMax,
               "Requests at once");
  sub.add_flag("--json", options.json, "Print one JSON object");

  BenchMemoryOptions& memory = parsed.bench_memory;
  CLI::App& read =
      *command(sub, "memory", "This machine's read bandwidth", "  tandem bench memory");
  integer_flag(read, "--threads", memory.threads, 0, limits::kThreadsMax,
               "Threads that read; 0: one, and physical cores");
  integer_flag(read, "--megabytes", memory.megabytes, 64, limits::kBenchMegabytesMax,
               "Size of the memory that is read");
  integer_flag(read, "--repeats,-r", memory.repeats, 1, limits::kBenchRepeatsMax, "Measured runs");
  read.add_flag("--json", memory.json, "Print one JSON object");
}

void add_worker(CLI::App& app, cluster::WorkerOptions& options) {
  CLI::App& sub = *command(app, "worker", "This machine's side of a cluster: waits for a gateway",
                           "  tandem worker\n"
                           "  tandem worker --listen 10.0.0.2:4820 --cluster-key-file key");
  value_flag(sub, "--listen", "Address to wait at", [&options](const std::string& text) -> Status {
    auto host = config::parse_host(text);
    if (!host) return host.error();
    options.listen = *host;
    return {};
  })->type_name("HOST:PORT [" + config::to_string(options.listen) + "]");
  value_flag(sub, "--data-port", "Port for frames from other ranks; 0: any free one",
             [&options](const std::string& text) -> Status {
               auto port = parse_integer(text, 0, 65535);
               if (!port) return port.error();
               options.data_port = static_cast<std::uint16_t>(*port);
               return {};
             })
      ->type_name("PORT [0]");
  add_security_flags(sub, options.security);
  sub.add_flag("--parent", options.parent)->group("");  // how a gateway starts its local workers
}

/// Rules between flags that CLI11 cannot state.
Status check_model_options(const ModelOptions& options) {
  if (!options.hosts.empty() && !options.hostfile.empty()) {
    return invalid("--hostfile: cannot be used together with --hosts");
  }
  const bool gpu = options.device == Device::kGpu;
  if (gpu && options.isa != kernels::Isa::kBest) {
    return invalid("--cpu-isa: has no meaning with --device gpu");
  }
  return {};
}

Status check_generate(const GenerateOptions& options) {
  if (options.prompt_ids && options.prompt) {
    return invalid("--prompt-ids: cannot be used together with --prompt");
  }
  const bool raw = options.ignore_chat_template || options.prompt_ids.has_value();
  const char* const why = options.prompt_ids ? "--prompt-ids" : "--ignore-chat-template";
  if (raw && options.chat_template.system_prompt) {
    return invalid(fmt::format("--system-prompt: has no meaning with {}", why));
  }
  if (raw && options.prefill_response) {
    return invalid(fmt::format("--prefill-response: has no meaning with {}", why));
  }
  if (raw && options.chat_template.config) {
    return invalid(fmt::format("--chat-template-config: has no meaning with {}", why));
  }
  return {};
}

/// The command that was given, its options checked.
Result<Command> chosen(const CLI::App& app, Parsed& parsed) {
  const auto checked = [](const ModelOptions& model, Status own, Command out) -> Result<Command> {
    if (auto status = check_model_options(model); !status.ok()) return status.error();
    if (!own.ok()) return own.error();
    return out;
  };
  if (app.got_subcommand("generate")) {
    return checked(parsed.generate.model, check_generate(parsed.generate), parsed.generate);
  }
  if (app.got_subcommand("chat")) return checked(parsed.chat.model, {}, parsed.chat);
  if (app.got_subcommand("score")) return checked(parsed.score.model, {}, parsed.score);
  if (app.got_subcommand("worker")) return Command{parsed.worker};
  const CLI::App* bench = app.get_subcommand("bench");
  if (bench->got_subcommand("memory")) return Command{parsed.bench_memory};
  return checked(parsed.bench.model, {}, parsed.bench);
}

/// "generate" or "bench memory", for the hint behind an error.
std::string command_path(const CLI::App& app) {
  std::string path = "tandem";
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return path;
}

}  // namespace

std::string version_text() { return std::string("tandem ") + TANDEM_VERSION; }

Result<Command> parse_command(const std::vector<std::string>& arguments) {
  Parsed parsed;
  CLI::App app("Runs large language models on one machine or over several.", "tandem");
  app.footer(kExamples);
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  add_generate(app, parsed.generate);
  add_chat(app, parsed.chat);
  add_score(app, parsed.score);
  add_bench(app, parsed);
  add_worker(app, parsed.worker.worker);
  if (arguments.empty()) return Command{HelpText{app.help()}};
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return chosen(app, parsed);
  } catch (const CLI::CallForHelp&) {
    return Command{HelpText{app.help()}};
  } catch (const CLI::CallForVersion& version) {
    return Command{HelpText{std::string(version.what()) + "\n"}};
  } catch (const CLI::ParseError& error) {
    return invalid(
        fmt::format("{} (see {} --help)", config::one_line(error.what()), command_path(app)));
  }
}

}  // namespace tandem::cli
