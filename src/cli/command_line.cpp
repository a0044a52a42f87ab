#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <utility>

#include "cli/flag_rules.h"
#include "cli/flags.h"
#include "cli/values.h"
#include "cluster/gateway/link_bench.h"
#include "config/hosts.h"
#include "config/message.h"
#include "tandem/limits.h"

namespace tandem::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  tandem generate -p "What is the package nginx?"        the embedded model answers
  tandem generate ~/models/Llama-3.2-1B-Instruct-4bit -p "Hello" --ranks 2
  tandem generate mlx-community/Qwen3-8B-4bit -p - --hosts 10.0.0.1,10.0.0.2 < prompt.txt
  tandem chat mlx-community/Qwen3-8B-4bit --system-prompt "Answer in one sentence."
  tandem serve mlx-community/Qwen3-8B-4bit               an OpenAI-compatible server
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
  BenchLinkOptions bench_link;
  BenchServeOptions bench_serve;
  ServeOptions serve;
  PlanOptions plan;
  WorkerCommand worker;
};

void add_generate(CLI::App& app, GenerateOptions& options) {
  CLI::App& sub = *add_command(app, "generate", "Answer one prompt on the terminal",
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
  text_flag(sub, "--prefill-response", options.prefill_response, "How the answer begins");
  sub.add_flag("--ignore-chat-template", options.ignore_chat_template,
               "Give the prompt to the model as it stands")
      ->disable_flag_override();
  choice_flag<bool>(sub, "--verbose", "False: print the answer only [True]",
                    {{"True", true},
                     {"T", true},
                     {"False", false},
                     {"F", false},
                     {"true", true},
                     {"false", false}},
                    [&options](bool verbose) { options.verbose = verbose; })
      ->type_name("True|False");
  sub.add_flag("--json", options.json, "Print one JSON object")->disable_flag_override();
}

void add_chat(CLI::App& app, ChatOptions& options) {
  CLI::App& sub = *add_command(app, "chat", "A conversation; /exit or Ctrl-D ends it",
                               "  tandem chat\n"
                               "  tandem chat MODEL --temp 0.7 --system-prompt \"Be brief.\"");
  add_model_flags(sub, options.model);
  options.sampling.max_tokens = limits::kMaxTokensChat;
  add_sampling_flags(sub, options.sampling);
  add_template_flags(sub, options.chat_template);
}

void add_score(CLI::App& app, ScoreOptions& options) {
  CLI::App& sub = *add_command(app, "score", "Log-probabilities of given token ids",
                               "  echo \"[1, 2, 3]\" > ids.json\n"
                               "  tandem score MODEL --ids ids.json --top-logprobs 5 --json");
  add_model_flags(sub, options.model);
  sub.add_option("--ids", options.ids_file,
                 "File with a JSON list of token ids; \"-\": standard input")
      ->type_name("FILE")
      ->required();
  integer_flag(sub, "--top-logprobs", options.top_logprobs, 0, kMaxTopLogprobs,
               "Likeliest candidates to list with each token");
  sub.add_flag("--json", options.json, "Print one JSON object")->disable_flag_override();
}

void add_serve(CLI::App& app, ServeOptions& options) {
  CLI::App& sub = *add_command(app, "serve", "An OpenAI-compatible server",
                               "  tandem serve\n"
                               "  tandem serve mlx-community/Qwen3-8B-4bit --port 9000\n"
                               "  tandem serve MODEL --host 0.0.0.0 --api-key-file keys "
                               "--hosts 10.0.0.1,10.0.0.2 --cluster-key-file key");
  add_model_flags(sub, options.model, "--cluster-");
  add_serve_flags(sub, options);
}

void add_plan(CLI::App& app, PlanOptions& options) {
  CLI::App& sub = *add_command(
      app, "plan", "Which machines should hold which layers, and how fast that would be",
      "  tandem plan MODEL --inventory machines.toml\n"
      "  tandem plan share/shapes/DeepSeek-V3-4bit --inventory share/inventories/8-m4-pro.toml\n"
      "  tandem plan MODEL --inventory machines.toml --context 32768 --concurrency 8 "
      "--objective throughput --json");
  add_model_argument(sub, options.model);
  sub.add_option("--inventory", options.inventory,
                 "TOML file: [[host]] name, memory_gb, bandwidth_gbs, tflops, device; [[link]] "
                 "between, latency_ms, gbit")
      ->type_name("FILE")
      ->required();
  value_flag(sub, "--context", "Tokens of each stream, prompt and answer",
             [&options](const std::string& text) -> Status {
               auto tokens = parse_integer(text, 1, limits::kPlanContextMax);
               if (!tokens) return tokens.error();
               options.context = static_cast<int>(*tokens);
               return {};
             })
      ->type_name(fmt::format("N [{}, or the model's]", limits::kPlanContextDefault));
  integer_flag(sub, "--concurrency", options.concurrency, 1, limits::kPlanConcurrencyMax,
               "Streams that memory must hold at once, and that throughput is of");
  choice_flag<planner::Objective>(
      sub, "--objective",
      "latency: tokens a second of one stream; throughput: of all; fit: memory left [latency]",
      {{"latency", planner::Objective::kLatency},
       {"throughput", planner::Objective::kThroughput},
       {"fit", planner::Objective::kFit}},
      [&options](planner::Objective objective) { options.objective = objective; });
  choice_flag<int>(sub, "--kv-bits", "KV in 8 bits", {{"8", 8}},
                   [&options](int bits) { options.kv_bits = bits; });
  sub.add_flag("--json", options.json, "Print one JSON object")->disable_flag_override();
}

/// What this machine's owner lets a rank have.
void add_place_flags(CLI::App& app, cluster::WorkerPlace& place) {
  value_flag(app, "--device", "What ranks compute on here",
             [&place](const std::string& text) -> Status {
               if (text != "cpu" && text != "gpu") {
                 return invalid("must be cpu or gpu, not " + in_quotes(text));
               }
               place.gpu = text == "gpu";
               return {};
             })
      ->type_name("cpu|gpu [gpu where MLX has one, else cpu]");
  value_flag(app, "--memory", "Most memory for weights, steps and KV, such as 12G",
             [&place](const std::string& text) { return read_size(text, place.memory_bytes); })
      ->type_name("SIZE [what is free]");
  integer_flag(app, "--threads", place.threads, 0, kMaxThreads,
               "Most threads of a rank; 0: as many as the gateway says");
}

void add_worker(CLI::App& app, cluster::WorkerOptions& options) {
  CLI::App& sub =
      *add_command(app, "worker", "This machine's side of a cluster: waits for a gateway",
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
  add_place_flags(sub, options.place);
  add_security_flags(sub, options.security);
  sub.add_flag("--parent", options.parent)
      ->disable_flag_override()
      ->group("");  // how a gateway starts its local workers
}

Result<Command> check_link(const CLI::App& app, const BenchLinkOptions& options) {
  if (auto status = check_transport(app, options.transport); !status.ok()) return status.error();
  const bool mlx = options.transport == cluster::TransportKind::kMlx;
  if (mlx && options.tls) return without_meaning("--tls", "with --transport mlx").error();
  if (mlx && options.key) return without_meaning("--key", "with --transport mlx").error();
  return Command{options};
}

/// What is between `bench` and a command below it belongs to neither.
Status check_bench_flags(const CLI::App& bench, const std::string& sub) {
  for (const CLI::Option* option : bench.get_options()) {
    if (option->count() > 0) return without_meaning(option->get_name(), "with bench " + sub);
  }
  return {};
}

Result<Command> chosen_bench(const CLI::App& bench, const Parsed& parsed) {
  for (const CLI::App* sub : bench.get_subcommands()) {
    if (auto status = check_bench_flags(bench, sub->get_name()); !status.ok()) {
      return status.error();
    }
    if (sub->get_name() == "link") return check_link(*sub, parsed.bench_link);
    if (sub->get_name() == "serve") {
      if (auto status = check_bench_serve(*sub, parsed.bench_serve); !status.ok()) {
        return status.error();
      }
      return Command{parsed.bench_serve};
    }
    return Command{parsed.bench_memory};
  }
  if (auto status = check_bench(bench, parsed.bench); !status.ok()) return status.error();
  return Command{parsed.bench};
}

/// The command that was given, its options checked.
Result<Command> chosen(const CLI::App& app, const Parsed& parsed) {
  const CLI::App& sub = *app.get_subcommands().front();
  const std::string& name = sub.get_name();
  const auto checked = [&sub](const ModelOptions& model, const Status& own,
                              Command out) -> Result<Command> {
    if (auto status = check_model_options(sub, model); !status.ok()) return status.error();
    if (!own.ok()) return own.error();
    return out;
  };
  if (name == "generate") {
    const GenerateOptions& options = parsed.generate;
    return checked(options.model, check_generate(sub, options), options);
  }
  if (name == "chat") return checked(parsed.chat.model, {}, parsed.chat);
  if (name == "score") return checked(parsed.score.model, {}, parsed.score);
  if (name == "serve") {
    return checked(parsed.serve.model, check_serve(sub, parsed.serve), parsed.serve);
  }
  if (name == "plan") return Command{parsed.plan};
  if (name == "worker") return Command{parsed.worker};
  return chosen_bench(sub, parsed);
}

/// CLI11 says only that a command is missing when it does not know the one that is given.
Status check_command_name(const CLI::App& app, const std::string& name) {
  std::string known;
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (sub->get_name() == name) return {};
    known += (known.empty() ? "" : ", ") + sub->get_name();
  }
  if (name.rfind('-', 0) == 0) return {};
  return invalid(fmt::format("{} is not a command; there are {}", in_quotes(name), known));
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
  add_serve(app, parsed.serve);
  CLI::App* bench = add_bench_commands(app, parsed.bench, parsed.bench_memory, parsed.bench_link);
  add_bench_serve(*bench, parsed.bench_serve);
  add_plan(app, parsed.plan);
  add_worker(app, parsed.worker.worker);
  if (arguments.empty()) return Command{HelpText{app.help()}};
  if (auto status = check_command_name(app, arguments.front()); !status.ok()) return status.error();
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return chosen(app, parsed);
  } catch (const CLI::CallForHelp&) {
    return Command{HelpText{app.help()}};
  } catch (const CLI::CallForVersion& version) {
    return Command{HelpText{std::string(version.what()) + "\n"}};
  } catch (const CLI::ArgumentMismatch& error) {
    // Names the flag without its dashes when a plain flag is given a value.
    const std::string what = config::one_line(error.what());
    const bool bare = what.find("disallowed flag override") != std::string::npos;
    return invalid(fmt::format("{}{} (see {} --help)", bare ? "--" : "", what, command_path(app)));
  } catch (const CLI::ParseError& error) {
    return invalid(
        fmt::format("{} (see {} --help)", config::one_line(error.what()), command_path(app)));
  }
}

}  // namespace tandem::cli
