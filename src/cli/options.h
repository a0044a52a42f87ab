#pragma once
// What the command line says, as plain values. Filled by parse_command().

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cli/limits.h"
#include "client/server_url.h"
#include "client/workload.h"
#include "cluster/gateway/launcher.h"
#include "cluster/rank/worker.h"
#include "cluster/trust/security.h"
#include "kernels/activations.h"
#include "kernels/isa.h"
#include "planner/planner.h"
#include "server/serving/gateway.h"
#include "tandem/stage_info.h"
#include "tandem/tick.h"

namespace tandem::cli {

/// kAuto: the GPU when MLX was built with one, else the CPU.
enum class Device { kAuto, kCpu, kGpu };

/// Options of every command that loads a model.
struct ModelOptions {
  std::string model;                   // MODEL; empty: the embedded one
  std::optional<int> ranks;            // local processes; absent: 1, or as many as hosts
  std::string hosts;                   // --hosts list; empty: none
  std::string hostfile;                // --hostfile; empty: none
  std::vector<config::Host> launched;  // workers that `launch` started; instead of both
  cluster::TransportKind transport = cluster::TransportKind::kGrpc;
  std::string mlx_backend = "ring";
  cluster::SecurityOptions security;
  int threads = 0;  // of each rank; 0: physical cores shared between local ranks
  int prefill_step_size = limits::kPrefillStepDefault;
  std::vector<Device> devices;     // one for all ranks, or one a rank; empty: kAuto
  std::vector<LayerRange> layers;  // one a rank; empty: the split's
  std::uint64_t kv_bytes = 0;      // most KV of each rank; 0: what its memory leaves
  std::optional<kernels::Activations> activations;  // absent: int8 on the CPU, bf16 on the GPU
  int kv_bits = 0;  // of a KV element: 8, or 0: as precise as activations or checkpoint
  kernels::Isa isa = kernels::Isa::kBest;
  bool mlx_kernels = false;
};

/// How tokens are drawn and where a generation ends.
struct SamplingOptions {
  SamplingParams params;              // greedy; mlx-lm's defaults
  std::optional<std::uint64_t> seed;  // absent: another one each time
  std::vector<std::string> extra_eos_tokens;
  int max_tokens = limits::kMaxTokensGenerate;  // -1: until the context is full
};

/// How a chat template is filled.
struct TemplateOptions {
  std::optional<std::string> system_prompt;
  std::optional<std::string> config;  // JSON object of further variables
};

struct GenerateOptions {
  ModelOptions model;
  SamplingOptions sampling;
  TemplateOptions chat_template;
  std::optional<std::string> prompt;  // absent or "-": standard input
  std::optional<std::string> prompt_ids;
  std::optional<std::string> prefill_response;
  bool ignore_chat_template = false;
  bool verbose = true;
  bool json = false;
};

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  TemplateOptions chat_template;
};

struct ScoreOptions {
  ModelOptions model;
  std::string ids_file;
  int top_logprobs = 0;
  bool json = false;
};

struct BenchOptions {
  ModelOptions model;
  int prompt = limits::kBenchPromptDefault;      // tokens a request
  int generate = limits::kBenchGenerateDefault;  // tokens a request
  int repeats = limits::kBenchRepeatsDefault;
  int concurrency = 1;        // requests at once
  std::vector<int> contexts;  // tokens; not empty: what these contexts cost, instead
  bool json = false;
};

struct BenchMemoryOptions {
  int threads = 0;  // 0: 1 and physical cores
  int megabytes = limits::kBenchMegabytesDefault;
  int repeats = limits::kBenchRepeatsDefault;
  bool json = false;
};

struct BenchLinkOptions {
  cluster::TransportKind transport = cluster::TransportKind::kGrpc;
  std::string mlx_backend = "ring";
  std::vector<std::uint64_t> payloads;  // bytes; empty: the usual ones
  int round_trips = limits::kBenchRoundTripsDefault;
  bool tls = false;
  bool key = false;
  bool json = false;
};

struct BenchServeOptions {
  client::ServerUrl url;
  client::Workload workload;  // an empty model: the first that the server has
  std::string api_key;
  std::string api_key_file;      // the first line is the key; empty: none
  std::string tls_ca;            // empty: the system's certificates
  std::vector<int> concurrency;  // empty: limits::kBenchStreamsDefault
  int requests = 0;              // of each level; 0: a few of each stream, unless `seconds`
  int seconds = 0;               // after which a level starts no request; 0: no such end
  int timeout_seconds = limits::kBenchTimeoutDefault;  // of one request
  std::int32_t vocabulary = 0;                         // ids of prompts; 0: what the server says
  std::optional<std::uint64_t> seed;                   // absent: another one each time
  bool json = false;
};

struct ServeOptions {
  ModelOptions model;
  server::GatewayOptions gateway;        // what flags do not say is filled in by run_serve()
  std::vector<std::string> model_names;  // --model-name; empty: MODEL's own
  std::vector<std::string> api_keys;
  std::string api_key_file;  // one key a line; empty: none
  std::string tls_cert;
  std::string tls_key;
  int drain_seconds = limits::kDrainSecondsDefault;
  int recovery_seconds = limits::kRecoverySecondsDefault;
  bool log_json = false;
};

struct PlanOptions {
  std::string model;                  // MODEL; empty: the embedded one
  std::string inventory;              // TOML file of machines and links; empty: hosts
  std::string hosts;                  // --hosts list; empty: none
  std::string hostfile;               // --hostfile; empty: none
  std::vector<LayerRange> layers;     // of each host, in their order; empty: the best
  cluster::SecurityOptions security;  // of hosts
  std::optional<int> context;  // tokens of each stream; absent: kPlanContextDefault, or the model's
  int concurrency = 1;         // streams
  planner::Objective objective = planner::Objective::kLatency;
  int kv_bits = 0;  // 8, or 0
  bool json = false;
};

struct WorkerCommand {
  cluster::WorkerOptions worker;
  bool launched = false;  // settings come by standard input, see launch/settings.h
};

struct LaunchOptions {
  std::string hosts;                                           // --hosts; empty: none
  std::string hostfile;                                        // --hostfile; empty: none
  int repeat = 1;                                              // workers on each host
  std::vector<std::pair<std::string, std::string>> variables;  // --env
  std::string folder;                // --cwd; empty: where ssh begins, or this one
  std::string binary;                // --binary; empty: `tandem` on the host's PATH
  int starting_port = 0;             // of the first worker; 0: any free ones
  bool verbose = false;              // show what workers write
  std::vector<std::string> command;  // what runs over them
};

/// Text to print on standard output and nothing else to do.
struct HelpText {
  std::string text;
};

using Command = std::variant<HelpText, GenerateOptions, ChatOptions, ScoreOptions, ServeOptions,
                             BenchOptions, BenchMemoryOptions, BenchLinkOptions, BenchServeOptions,
                             PlanOptions, WorkerCommand, LaunchOptions>;

}  // namespace tandem::cli
