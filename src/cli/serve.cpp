// `tandem serve`: an OpenAI-compatible server.

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/platform.h"
#include "cli/commands.h"
#include "cli/gpu.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/key_file.h"
#include "cli/model_folder.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/utc_time.h"
#include "cli/values.h"
#include "cluster/gateway/launcher.h"
#include "models/loading/model_plan.h"
#include "stage/devices.h"
#include "stage/memory_fit.h"

namespace tandem::cli {
namespace {

/// How often a thread that waits for a signal looks whether it is still wanted.
constexpr int kWatchMilliseconds = 200;

/// Lines on standard error, from any thread.
class Log {
 public:
  Log(Console& console, bool json) : console_(&console), json_(json) {}

  void request(const server::RequestRecord& record) {
    const bool probe = record.path == "/health" || record.path == "/metrics";
    if (probe && record.status == 200) return;
    line(json_ ? server::log_json(record, utc_now()) : server::log_text(record, utc_now()));
  }

  /// What befell the pipeline.
  void event(const std::string& text) {
    line(json_ ? json_text({{"time", utc_now()}, {"event", text}})
               : fmt::format("{} {}", utc_now(), text));
  }

  void refusal(const server::Refusal& refusal) {
    server::RequestRecord record;
    record.id = refusal.id;
    record.peer = refusal.peer;
    record.status = refusal.status;
    record.error = refusal.message;
    line(json_ ? server::log_json(record, utc_now()) : server::log_text(record, utc_now()));
  }

 private:
  void line(std::string text) {
    text += '\n';
    const std::lock_guard lock(mutex_);
    console_->note(text);
  }

  Console* console_;
  bool json_;
  std::mutex mutex_;
};

Result<std::vector<std::string>> read_keys(const ServeOptions& options) {
  std::vector<std::string> keys = options.api_keys;
  if (!options.api_key_file.empty()) {
    auto read = read_key_file(options.api_key_file);
    if (!read) return read.error();
    std::ranges::move(*read, std::back_inserter(keys));
  }
  if (keys.size() > limits::kApiKeysMax) {
    return invalid(fmt::format("--api-key-file: at most {} keys", limits::kApiKeysMax));
  }
  return keys;
}

/// What clients may call the model: MODEL as given, and the folder's own name.
std::vector<std::string> model_names(const ServeOptions& options,
                                     const std::filesystem::path& folder) {
  std::vector<std::string> names = options.model_names;
  const std::string& given = options.model.model;
  const std::string own = std::filesystem::absolute(folder).lexically_normal().filename().string();
  const bool repo = !given.empty() && folder.string() != given;
  if (names.empty()) names.push_back(repo ? given : own.empty() ? "model" : own);
  for (const std::string& name : {given, own}) {
    if (!name.empty() && std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

Result<server::GatewayOptions> gateway_options(const ServeOptions& options,
                                               const std::filesystem::path& folder, Log& log) {
  server::GatewayOptions out = options.gateway;
  out.folder = folder;
  out.model_names = model_names(options, folder);
  out.version = TANDEM_VERSION;
  auto keys = read_keys(options);
  if (!keys) return keys.error();
  out.http.keys = std::move(*keys);
  if (!options.tls_cert.empty()) out.http.tls = {options.tls_cert, options.tls_key};
  out.engine.step_time = std::chrono::seconds(limits::kTickSecondsMax);
  out.engine.note = [&log](const std::string& text) { log.event(text); };
  out.log = [&log](const server::RequestRecord& record) { log.request(record); };
  out.log_refusal = [&log](const server::Refusal& refusal) { log.refusal(refusal); };
  return out;
}

/// Says so where --max-context is more than the model or its KV memory has; else nothing.
std::string context_line(const server::GatewayOptions& options, int context) {
  const int wanted = options.engine.engine.context_max;
  if (wanted <= context) return {};
  return fmt::format("--max-context: the model and its KV memory have {} tokens, not {}\n", context,
                     wanted);
}

std::string limits_line(const server::GatewayOptions& options, int context, int drain_seconds) {
  return fmt::format(
      "limits: {} tokens of context, {} answers at once, {} waiting, {} MiB a request, "
      "n {}, {} s to drain\n",
      context, options.engine.engine.sequences_max, options.engine.waiting_max,
      options.http.limits.body_bytes >> 20, options.limits.choices_max, drain_seconds);
}

std::string curl_line(const server::GatewayOptions& options, const std::string& url) {
  const std::string key = options.http.keys.empty() ? "" : " -H \"Authorization: Bearer $KEY\"";
  return fmt::format(
      "curl {}/v1/chat/completions -H \"Content-Type: application/json\"{} -d "
      "'{{\"model\": \"{}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'\n",
      url, key, options.model_names.front());
}

/// Turns the first SIGINT or SIGTERM into a drain; the second one ends the process.
class SignalWatch {
 public:
  SignalWatch(server::Gateway& gateway, std::chrono::seconds patience)
      : thread_([this, &gateway, patience] {
          while (!ended_ && !interrupt_.raised()) {
            pollfd wait{interrupt_.descriptor(), POLLIN, 0};
            ::poll(&wait, 1, kWatchMilliseconds);
          }
          if (interrupt_.raised()) gateway.drain(patience);
        }) {}
  ~SignalWatch() {
    ended_ = true;
    thread_.join();
  }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  Interrupt interrupt_;
  std::atomic<bool> ended_{false};
  std::thread thread_;  // last: it uses the others
};

/// Who holds what is planned for a few streams: memory for as many as may come would leave none for
/// layers, and one alone would leave machines idle.
cluster::PipelineWork work_of(const ServeOptions& options) {
  constexpr int kStreams = 8;
  const scheduler::EngineOptions& engine = options.gateway.engine.engine;
  cluster::PipelineWork work;
  work.streams = std::min(kStreams, static_cast<int>(engine.sequences_max));
  if (work.streams > 1) work.objective = planner::Objective::kThroughput;
  work.context = std::min(engine.context_max, cluster::kPlannedContext);
  return work;
}

}  // namespace

Status run_serve(const ServeOptions& options, const Environment& environment, Console& console) {
  auto folder = find_model(options.model.model, environment);
  if (!folder) return folder.error();
  auto pipeline =
      pipeline_options(options.model, *folder, platform::physical_cores(), gpu_available(*folder));
  if (!pipeline) return pipeline.error();
  pipeline->work = work_of(options);
  Log log(console, options.log_json);
  auto wanted = gateway_options(options, *folder, log);
  if (!wanted) return wanted.error();
  // A process can be in one mlx group, and a broken one never lets go of it.
  if (pipeline->transport == cluster::TransportKind::kMlx) wanted->engine.restart.forever = false;
  wanted->engine.restart.recovery_timeout = std::chrono::seconds(options.recovery_seconds);
  int& step = wanted->engine.engine.prefill_step_size;
  step = options.model.prefill_step_size;
  if (pipeline->hosts.empty()) {
    step = static_cast<int>(
        stage::fitting_step(pipeline->stage, pipeline->ranks, static_cast<std::uint32_t>(step)));
  }
  if (const std::string note = models::head_note(*folder); !note.empty()) {
    console.note("note: " + note + '\n');
  }
  // Outlives the pipelines, which the gateway owns.
  cluster::Launcher launcher([&log](const std::string& line) { log.event(line); });
  auto gateway = server::Gateway::start(*wanted);
  if (!gateway) return gateway.error();
  const std::string url = (*gateway)->url();
  console.note(fmt::format("tandem serve: {} at {}\n", wanted->model_names.front(), url));
  const auto open = [&](const RankProgress& progress) {
    LoadingDisplay display(console, false);
    if (pipeline->hosts.empty()) {
      pipeline->stage.memory_bytes = stage::free_memory(pipeline->stage.gpu);
    }
    return launcher.open(*pipeline, [&](int rank, std::uint64_t done, std::uint64_t total) {
      display.update(rank, done, total);
      progress(rank, done, total);
    });
  };
  std::unique_ptr<SignalWatch> watch;
  const auto loaded = [&] {
    watch = std::make_unique<SignalWatch>(**gateway, std::chrono::seconds(options.drain_seconds));
    const server::EngineView view = (*gateway)->view();
    console.note(rank_table(view.ranks) + context_line(*wanted, view.context_max) +
                 limits_line(*wanted, view.context_max, options.drain_seconds) +
                 "try: " + curl_line(*wanted, url));
  };
  const Status status = (*gateway)->run(open, loaded);
  watch.reset();
  return status;
}

}  // namespace tandem::cli
