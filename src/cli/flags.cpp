#include "cli/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "cli/values.h"
#include "config/hosts.h"
#include "config/json.h"
#include "config/sizes.h"
#include "tandem/limits.h"

namespace tandem::cli {
namespace {

/// "cpu", or "cpu,gpu": one for each rank.
Status read_devices(const std::string& text, std::vector<Device>& devices) {
  devices.clear();
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    if (name != "cpu" && name != "gpu") {
      return invalid("must be cpu, gpu, or one of them for each rank, not " + in_quotes(text));
    }
    devices.push_back(name == "gpu" ? Device::kGpu : Device::kCpu);
    begin = end + 1;
  }
  return {};
}

void add_placement_flags(CLI::App& app, ModelOptions& options) {
  value_flag(app, "--ranks", "Ranks that the layers are split over; local processes unless --hosts",
             [&options](const std::string& text) -> Status {
               auto value = parse_integer(text, 1, limits::kRanksMax);
               if (!value) return value.error();
               options.ranks = static_cast<int>(*value);
               return {};
             })
      ->type_name("N [1]");
  value_flag(app, "--hosts", "Workers that run already, in rank order: host[:port],host[:port]",
             [&options](const std::string& text) -> Status {
               auto hosts = config::parse_hosts(text);
               if (!hosts) return hosts.error();
               options.hosts = text;
               return {};
             })
      ->type_name("LIST");
  value_flag(app, "--layers", "Layers of each rank, first to last: 0-19,20-27",
             [&options](const std::string& text) -> Status {
               auto ranges = config::parse_layer_list(text);
               if (!ranges) return ranges.error();
               options.layers = std::move(*ranges);
               return {};
             })
      ->type_name("LIST [an even split]");
  app.add_option("--hostfile", options.hostfile, "Workers from a JSON file, as mlx.launch's")
      ->type_name("FILE");
  add_transport_flags(app, options.transport, options.mlx_backend);
}

void add_compute_flags(CLI::App& app, ModelOptions& options) {
  integer_flag(app, "--threads", options.threads, 0, kMaxThreads,
               "Threads of each rank; 0: physical cores, shared between local ranks");
  integer_flag(app, "--prefill-step-size", options.prefill_step_size, 1, limits::kPrefillStepMax,
               "Prompt tokens in one step");
  value_flag(app, "--device",
             "gpu: Metal or CUDA [gpu where MLX has one, else cpu]; a list: of each rank",
             [&options](const std::string& text) { return read_devices(text, options.devices); })
      ->type_name("cpu|gpu");
  value_flag(app, "--kv-memory", "Most memory for KV of each rank, such as 500M or 4G",
             [&options](const std::string& text) { return read_size(text, options.kv_bytes); })
      ->type_name("SIZE [what weights and steps leave]");
  choice_flag<kernels::Activations>(
      app, "--activations", "Precision between operations [int8 on cpu, bf16 on gpu]",
      {{"f32", kernels::Activations::kF32},
       {"bf16", kernels::Activations::kBF16},
       {"int8", kernels::Activations::kInt8}},
      [&options](kernels::Activations kind) { options.activations = kind; });
  choice_flag<int>(app, "--kv-bits", "Bits of a KV element: 8, half the memory [the activations']",
                   {{"8", 8}}, [&options](int bits) { options.kv_bits = bits; });
  std::vector<std::pair<std::string, kernels::Isa>> isas;
  for (const kernels::Isa isa :
       {kernels::Isa::kBest, kernels::Isa::kAvx512Vnni, kernels::Isa::kAvx2, kernels::Isa::kNeon,
        kernels::Isa::kPortable}) {
    isas.emplace_back(kernels::isa_name(isa), isa);
  }
  choice_flag<kernels::Isa>(app, "--cpu-isa", "Instruction set of the CPU kernels [best]", isas,
                            [&options](kernels::Isa isa) { options.isa = isa; });
  app.add_flag("--mlx-kernels", options.mlx_kernels,
               "MLX's own operations on the CPU too (slow; to compare)")
      ->disable_flag_override();
}

}  // namespace

Status read_size(const std::string& text, std::uint64_t& bytes) {
  auto size = config::parse_bytes(text);
  if (!size) return size.error();
  if (*size == 0) return invalid("must be more than 0");
  bytes = *size;
  return {};
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& help,
                      const std::string& examples) {
  CLI::App* sub = app.add_subcommand(name, help);
  sub->footer("Examples:\n" + examples);
  return sub;
}

CLI::Option* value_flag(CLI::App& app, const std::string& names, const std::string& help,
                        std::function<Status(const std::string&)> read) {
  const std::string name = names.substr(0, names.find(','));
  return app.add_option_function<std::string>(
      names,
      [name, read = std::move(read)](const std::string& text) {
        if (auto status = read(text); !status.ok()) {
          throw CLI::ValidationError(name, status.error().message);
        }
      },
      help);
}

CLI::Option* seed_flag(CLI::App& app, std::optional<std::uint64_t>& target,
                       const std::string& help) {
  return value_flag(app, "--seed", help,
                    [&target](const std::string& text) -> Status {
                      auto seed = parse_seed(text);
                      if (!seed) return seed.error();
                      target = *seed;
                      return {};
                    })
      ->type_name("N");
}

CLI::Option* text_flag(CLI::App& app, const std::string& names, std::optional<std::string>& target,
                       const std::string& help) {
  return value_flag(app, names, help,
                    [&target](const std::string& text) -> Status {
                      if (!is_utf8(text)) return invalid("must be valid UTF-8");
                      target = text;
                      return {};
                    })
      ->type_name("TEXT");
}

CLI::Option* integer_flag(CLI::App& app, const std::string& names, int& target, std::int64_t min,
                          std::int64_t max, const std::string& help) {
  return value_flag(app, names, help,
                    [&target, min, max](const std::string& text) -> Status {
                      auto value = parse_integer(text, min, max);
                      if (!value) return value.error();
                      target = static_cast<int>(*value);
                      return {};
                    })
      ->type_name(fmt::format("N [{}]", target));
}

CLI::Option* real_flag(CLI::App& app, const std::string& names, float& target,
                       const rules::Range& range, const std::string& help) {
  return value_flag(app, names, help,
                    [&target, range](const std::string& text) -> Status {
                      auto value = parse_real(text, static_cast<double>(range.min),
                                              static_cast<double>(range.max));
                      if (!value) return value.error();
                      target = static_cast<float>(*value);
                      return {};
                    })
      ->type_name(fmt::format("X [{}]", target));
}

void add_transport_flags(CLI::App& app, cluster::TransportKind& transport, std::string& backend) {
  choice_flag<cluster::TransportKind>(
      app, "--transport", "How frames travel between ranks [grpc]",
      {{"grpc", cluster::TransportKind::kGrpc}, {"mlx", cluster::TransportKind::kMlx}},
      [&transport](cluster::TransportKind kind) { transport = kind; });
  choice_flag<std::string>(app, "--mlx-backend", "MLX's backend with --transport mlx [ring]",
                           {{"ring", "ring"}, {"mpi", "mpi"}, {"nccl", "nccl"}, {"jaccl", "jaccl"}},
                           [&backend](const std::string& name) { backend = name; });
}

void add_model_argument(CLI::App& app, std::string& model) {
  app.add_option("MODEL,--model", model,
                 "A model folder, or a Hugging Face repo id in the local cache; none: the embedded "
                 "model")
      ->type_name("");
}

void add_model_flags(CLI::App& app, ModelOptions& options, const std::string& security) {
  add_model_argument(app, options.model);
  add_placement_flags(app, options);
  add_security_flags(app, options.security, security);
  add_compute_flags(app, options);
}

void add_security_flags(CLI::App& app, cluster::SecurityOptions& options,
                        const std::string& prefix) {
  app.add_option("--cluster-key-file", options.cluster_key_file,
                 "File with the secret that all hosts of the cluster share")
      ->type_name("FILE");
  app.add_option(prefix + "tls-cert", options.tls_cert, "This host's certificate (PEM)")
      ->type_name("FILE");
  app.add_option(prefix + "tls-key", options.tls_key, "The certificate's private key (PEM)")
      ->type_name("FILE");
  app.add_option(prefix + "tls-ca", options.tls_ca,
                 "The authority that signs the cluster's certificates")
      ->type_name("FILE");
  app.add_flag(prefix + "insecure", options.insecure,
               "Allow addresses other than loopback without key or TLS")
      ->disable_flag_override();
}

void add_sampling_flags(CLI::App& app, SamplingOptions& options) {
  SamplingParams& params = options.params;
  value_flag(app, "--max-tokens,-m", "Tokens to generate at most; -1: until the context is full",
             [&options](const std::string& text) -> Status {
               auto value = parse_integer(text, -1, limits::kMaxTokensMax);
               if (!value) return value.error();
               if (*value == 0) return invalid("must be at least 1, or -1 for no limit");
               options.max_tokens = static_cast<int>(*value);
               return {};
             })
      ->type_name(fmt::format("N [{}]", options.max_tokens));
  real_flag(app, "--temp", params.temperature, rules::kTemperature,
            "Sampling temperature; 0: always the likeliest token");
  real_flag(app, "--top-p", params.top_p, rules::kTopP, "Nucleus sampling; 0 or 1: off");
  value_flag(app, "--min-p", "Least probability of a token, relative to the likeliest; 0: off",
             [&params](const std::string& text) -> Status {
               auto value = parse_real(text, 0, 1);
               if (!value) return value.error();
               params.min_p = static_cast<float>(*value);
               if (params.min_p >= 1) return invalid("must be below 1");
               return {};
             })
      ->type_name(fmt::format("X [{}]", params.min_p));
  integer_flag(app, "--top-k", params.top_k, 0, limits::kTopKMax,
               "Draw from the k likeliest tokens; 0: off");
  params.xtc_threshold = 0;  // mlx_lm.generate's default
  real_flag(app, "--xtc-probability", params.xtc_probability, rules::kXtcProbability,
            "Probability of XTC at each token; 0: off");
  real_flag(app, "--xtc-threshold", params.xtc_threshold, rules::kXtcThreshold,
            "Probability from which XTC removes a token");
  integer_flag(app, "--min-tokens-to-keep", params.min_tokens_to_keep, 1, limits::kTopKMax,
               "Tokens that --min-p always keeps");
  seed_flag(app, options.seed, "Seed of the draws; another one each time when absent");
  app.add_option("--extra-eos-token", options.extra_eos_tokens,
                 "Further tokens that end the answer (several may follow)")
      ->type_name("TOKEN")
      ->expected(1, limits::kExtraEosMax);
}

void add_template_flags(CLI::App& app, TemplateOptions& options) {
  text_flag(app, "--system-prompt", options.system_prompt, "System message of the chat template");
  value_flag(app, "--chat-template-config", "Further variables of the chat template, a JSON object",
             [&options](const std::string& text) -> Status {
               auto json = config::parse_json(text, "the value");
               if (!json) return json.error();
               if (!json->is_object()) return invalid("must be a JSON object");
               options.config = text;
               return {};
             })
      ->type_name("JSON");
}

}  // namespace tandem::cli
