#include "cli/flag_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace tandem::cli {
namespace {

/// Flags about other machines or ranks, when there are none.
Status check_cluster_flags(const CLI::App& app, const ModelOptions& options) {
  if (!options.hosts.empty() || !options.hostfile.empty()) return {};
  const std::string prefix = app.get_name() == "serve" ? "--cluster-" : "--";
  std::vector<std::string> flags = {"--cluster-key-file"};
  for (const char* name : {"tls-cert", "tls-key", "tls-ca", "insecure"}) {
    flags.push_back(prefix + name);
  }
  for (const std::string& flag : flags) {
    if (app.count(flag) > 0) return without_meaning(flag, "without --hosts or --hostfile");
  }
  if (options.transport == cluster::TransportKind::kMlx && options.ranks.value_or(1) == 1) {
    return without_meaning("--transport mlx", "with one local rank");
  }
  return {};
}

}  // namespace

Status without_meaning(const std::string& flag, const std::string& with) {
  return invalid(fmt::format("{}: has no meaning {}", flag, with));
}

Status check_transport(const CLI::App& app, cluster::TransportKind transport) {
  if (transport == cluster::TransportKind::kMlx || app.count("--mlx-backend") == 0) return {};
  return without_meaning("--mlx-backend", "without --transport mlx");
}

Status check_model_options(const CLI::App& app, const ModelOptions& options) {
  if (!options.hosts.empty() && !options.hostfile.empty()) {
    return invalid("--hostfile: cannot be used together with --hosts");
  }
  if (auto status = check_transport(app, options.transport); !status.ok()) return status;
  if (auto status = check_cluster_flags(app, options); !status.ok()) return status;
  if (options.mlx_kernels && app.count("--cpu-isa") > 0) {
    return without_meaning("--cpu-isa", "with --mlx-kernels");
  }
  if (options.mlx_kernels && options.kv_bits != 0) {
    return invalid("--kv-bits: cannot be used together with --mlx-kernels");
  }
  const bool gpu = std::ranges::find(options.devices, Device::kGpu) != options.devices.end();
  if (gpu && options.isa != kernels::Isa::kBest) {
    return without_meaning("--cpu-isa", "with --device gpu");
  }
  return {};
}

Status check_plan(const CLI::App& app, const PlanOptions& options) {
  const int sources = (options.inventory.empty() ? 0 : 1) + (options.hosts.empty() ? 0 : 1) +
                      (options.hostfile.empty() ? 0 : 1);
  if (sources != 1) {
    return invalid(
        "--inventory, --hosts or --hostfile: one of them is needed, to say of which "
        "machines the plan is");
  }
  if (options.inventory.empty()) return {};
  for (const char* flag :
       {"--layers", "--cluster-key-file", "--tls-cert", "--tls-key", "--tls-ca", "--insecure"}) {
    if (app.count(flag) > 0) return without_meaning(flag, "with --inventory");
  }
  return {};
}

Status check_generate(const CLI::App& app, const GenerateOptions& options) {
  if (options.json && app.count("--verbose") > 0)
    return without_meaning("--verbose", "with --json");
  if (options.prompt_ids && options.prompt) {
    return invalid("--prompt-ids: cannot be used together with --prompt");
  }
  if (options.prompt_ids && options.ignore_chat_template) {
    return without_meaning("--ignore-chat-template", "with --prompt-ids");
  }
  const bool raw = options.ignore_chat_template || options.prompt_ids.has_value();
  const std::string why = options.prompt_ids ? "with --prompt-ids" : "with --ignore-chat-template";
  if (raw && options.chat_template.system_prompt) {
    return without_meaning("--system-prompt", why);
  }
  if (raw && options.prefill_response) {
    return without_meaning("--prefill-response", why);
  }
  if (raw && options.chat_template.config) {
    return without_meaning("--chat-template-config", why);
  }
  return {};
}

Status check_bench(const CLI::App& app, const BenchOptions& options) {
  if (auto status = check_model_options(app, options.model); !status.ok()) return status;
  if (options.contexts.empty()) return {};
  for (const char* flag : {"--prompt-tokens", "--concurrency"}) {
    if (app.count(flag) > 0) return without_meaning(flag, "with --contexts");
  }
  if (options.generate < 2) return invalid("--generate-tokens: must be 2 at least with --contexts");
  return {};
}

Status check_bench_serve(const CLI::App& app, const BenchServeOptions& options) {
  if (app.count("--api-key") > 0 && app.count("--api-key-file") > 0) {
    return invalid("--api-key-file: cannot be used together with --api-key");
  }
  if (!options.url.tls && !options.tls_ca.empty()) {
    return without_meaning("--tls-ca", "without https");
  }
  const bool ids = options.workload.prompts == client::PromptKind::kIds;
  if (ids && options.workload.endpoint == client::Endpoint::kChat) {
    return without_meaning("--prompts ids", "with --endpoint chat");
  }
  if (!ids && app.count("--vocabulary") > 0) {
    return without_meaning("--vocabulary", "without --prompts ids");
  }
  return {};
}

Status check_serve(const CLI::App& app, const ServeOptions& options) {
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return invalid(options.tls_cert.empty() ? "--tls-cert: is needed with --tls-key"
                                            : "--tls-key: is needed with --tls-cert");
  }
  const bool keys = !options.api_keys.empty() || !options.api_key_file.empty();
  if (keys && options.gateway.http.insecure) return without_meaning("--insecure", "with a key");
  if (!keys && app.count("--max-per-key") > 0) {
    return without_meaning("--max-per-key", "without --api-key or --api-key-file");
  }
  return {};
}

}  // namespace tandem::cli
