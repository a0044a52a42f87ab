#include "cli/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "base/platform.h"
#include "cli/gpu.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "config/hosts.h"
#include "models/loading/model_plan.h"
#include "stage/devices.h"
#include "stage/memory_fit.h"

namespace tandem::cli {
namespace {

Result<std::vector<config::Host>> wanted_hosts(const ModelOptions& options) {
  if (!options.launched.empty()) return options.launched;
  if (!options.hosts.empty()) return config::parse_hosts(options.hosts);
  if (options.hostfile.empty()) return std::vector<config::Host>{};
  auto file = config::load_hostfile(options.hostfile);
  if (!file) return file.error();
  return file->hosts;
}

/// How many ranks there are, by --ranks, the hosts, and lists that name something of each rank.
Status count_ranks(const ModelOptions& options, cluster::PipelineOptions& out) {
  if (!out.hosts.empty() && options.ranks) {
    const auto ranks = static_cast<std::size_t>(*options.ranks);
    if (ranks > out.hosts.size()) {
      return invalid(fmt::format("--ranks: {} ranks need as many hosts, and {} are given", ranks,
                                 out.hosts.size()));
    }
    out.hosts.resize(ranks);
  }
  const std::size_t devices = options.devices.size() > 1 ? options.devices.size() : 0;
  const auto listed = static_cast<int>(std::max(options.layers.size(), devices));
  out.ranks = static_cast<int>(out.hosts.size());
  if (out.hosts.empty()) out.ranks = options.ranks.value_or(std::max(1, listed));
  const auto ranks = static_cast<std::size_t>(out.ranks);
  if (!options.layers.empty() && options.layers.size() != ranks) {
    return invalid(fmt::format("--layers: {} ranges, and {} ranks", options.layers.size(), ranks));
  }
  if (devices != 0 && devices != ranks) {
    return invalid(fmt::format("--device: {} devices, and {} ranks", devices, ranks));
  }
  return {};
}

/// What each rank computes on. `gpu`: MLX has one here.
Status choose_devices(const ModelOptions& options, bool gpu, cluster::PipelineOptions& out) {
  const auto wanted = [&](Device device) {
    return device == Device::kGpu ||
           (device == Device::kAuto && gpu && options.isa == kernels::Isa::kBest);
  };
  const std::vector<Device>& devices = options.devices;
  const bool any = std::ranges::find(devices, Device::kGpu) != devices.end();
  if (any && !gpu && out.hosts.empty()) {
    return invalid("--device: no GPU of this machine runs this model");
  }
  const bool local = out.hosts.empty();
  out.stage.gpu = any || (local && devices.empty() && wanted(Device::kAuto));
  // One for all, or one a rank; hosts choose for themselves when nobody says.
  for (int rank = 0; !devices.empty() && (!local || devices.size() > 1) && rank < out.ranks;
       ++rank) {
    out.gpus.push_back(wanted(devices[devices.size() > 1 ? static_cast<std::size_t>(rank) : 0]));
  }
  return {};
}

}  // namespace

Result<cluster::PipelineOptions> pipeline_options(const ModelOptions& options,
                                                  const std::filesystem::path& folder, int cores,
                                                  bool gpu) {
  cluster::PipelineOptions out;
  out.version = TANDEM_VERSION;
  auto hosts = wanted_hosts(options);
  if (!hosts) return hosts.error();
  out.hosts = std::move(*hosts);
  if (auto counted = count_ranks(options, out); !counted) return counted.error();
  if (auto chosen = choose_devices(options, gpu, out); !chosen) return chosen.error();
  out.layers = options.layers;
  out.all_hosts = options.ranks.has_value() || options.devices.size() > 1;
  out.stage.folder = folder;
  out.stage.mlx_kernels = options.mlx_kernels;
  // One for all ranks: hidden states travel in the activations' type.
  out.activations_given = options.activations.has_value();
  out.stage.activations = options.activations.value_or(out.stage.gpu ? kernels::Activations::kBF16
                                                                     : kernels::Activations::kInt8);
  if (options.kv_bits != 0 && out.stage.gpu) {
    return invalid("--kv-bits: only the CPU's kernels keep KV in 8 bits: needs --device cpu");
  }
  out.stage.kv_bits = options.kv_bits;
  out.stage.kv_bytes_max = options.kv_bytes;
  out.stage.isa = options.isa;
  out.stage.threads = options.threads;
  if (options.threads == 0 && out.hosts.empty()) out.stage.threads = std::max(1, cores / out.ranks);
  // A stage in this process has what is free, and is sent steps that fit: see fitting_step().
  if (out.hosts.empty()) out.stage.memory_bytes = stage::free_memory(out.stage.gpu);
  out.transport = options.transport;
  out.mlx_backend = options.mlx_backend;
  out.security = options.security;
  return out;
}

Result<Session> Session::open(const ModelOptions& options, const std::filesystem::path& folder,
                              Console& console, bool quiet, const cluster::PipelineWork& work) {
  auto wanted =
      pipeline_options(options, folder, platform::physical_cores(), gpu_available(folder));
  if (!wanted) return wanted.error();
  wanted->work = work;
  // Hosts answer for their own memory.
  int step = options.prefill_step_size;
  if (wanted->hosts.empty()) {
    step = static_cast<int>(
        stage::fitting_step(wanted->stage, wanted->ranks, static_cast<std::uint32_t>(step)));
  }
  Session session;
  session.launcher_ = std::make_unique<cluster::Launcher>([&console, quiet](const auto& line) {
    if (!quiet) console.note(line + '\n');
  });
  if (const std::string note = models::head_note(folder); !note.empty()) {
    console.note("note: " + note + '\n');
  }
  {
    LoadingDisplay display(console, quiet);
    auto pipeline =
        session.launcher_->open(*wanted, [&](int rank, std::uint64_t done, std::uint64_t total) {
          display.update(rank, done, total);
        });
    if (!pipeline) return pipeline.error();
    session.pipeline_ = std::move(*pipeline);
  }
  if (!quiet) console.note(rank_table(session.pipeline_->ranks()));
  session.engine_ = std::make_unique<scheduler::Engine>(
      *session.pipeline_, scheduler::EngineOptions{.prefill_step_size = step,
                                                   .sequences_max = limits::kBenchConcurrencyMax});
  return session;
}

}  // namespace tandem::cli
