#include "cluster/wire/load_messages.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/isa.h"
#include "tandem/limits.h"

namespace tandem::cluster {
namespace {

constexpr std::uint32_t kMaxWindow = 1U << 30;
constexpr std::uint64_t kMaxPageBytes = 1ULL << 40;

using kernels::Activations;
constexpr std::array<std::pair<Activations, std::string_view>, 3> kActivations = {
    {{Activations::kF32, "f32"}, {Activations::kBF16, "bf16"}, {Activations::kInt8, "int8"}}};

Error bad_field(const std::string& what) { return invalid("load request: " + what); }

Status take_states(const v1::StageInfo& in, std::vector<StateGroup>& states) {
  if (in.states_size() > kMaxLayers) return invalid("loaded: more groups of states than layers");
  for (const v1::StateGroup& from : in.states()) {
    const bool paged = from.kind() == v1::STATE_KIND_PAGED;
    if (!paged && from.kind() != v1::STATE_KIND_WINDOWED) {
      return invalid("loaded: a group of states must be paged or windowed");
    }
    const bool known = std::any_of(states.begin(), states.end(), [&](const StateGroup& each) {
      return each.window == from.window();
    });
    if (known || paged != (from.window() == 0) || from.window() > kMaxWindow ||
        from.page_bytes() == 0 || from.page_bytes() > kMaxPageBytes) {
      return invalid("loaded: groups of states need a window each and pages of some bytes");
    }
    const auto kind = paged ? StateKind::kPaged : StateKind::kWindowed;
    states.push_back({kind, from.window(), from.page_bytes()});
  }
  return {};
}

}  // namespace

void put(const stage::StageOptions& options, v1::LoadRequest& out) {
  out.set_model(options.folder.string());
  out.set_first_layer(options.layers.first);
  out.set_last_layer(options.layers.last);
  out.set_gpu(options.gpu);
  out.set_mlx_kernels(options.mlx_kernels);
  for (const auto& [value, name] : kActivations) {
    if (value == options.activations) out.set_activations(std::string(name));
  }
  out.set_isa(std::string(kernels::isa_name(options.isa)));
  out.set_kv_bits(options.kv_bits);
  out.set_threads(options.threads);
  out.set_memory_bytes(options.memory_bytes);
  out.set_kv_bytes_max(options.kv_bytes_max);
}

Result<stage::StageOptions> take_options(const v1::LoadRequest& in) {
  stage::StageOptions options;
  if (in.model().empty()) return bad_field("model is empty");
  options.folder = in.model();
  if (in.first_layer() < 0 || in.last_layer() <= in.first_layer() || in.last_layer() > kMaxLayers) {
    return bad_field("layers " + std::to_string(in.first_layer()) + ".." +
                     std::to_string(in.last_layer()) + " are no range");
  }
  options.layers = {in.first_layer(), in.last_layer()};
  options.gpu = in.gpu();
  options.mlx_kernels = in.mlx_kernels();
  bool known = false;
  for (const auto& [value, name] : kActivations) {
    if (name != in.activations()) continue;
    options.activations = value;
    known = true;
  }
  if (!known) return bad_field("activations must be f32, bf16 or int8");
  const auto isa = kernels::isa_from_name(in.isa());
  if (!isa) return bad_field("isa is not one this version knows");
  options.isa = *isa;
  if (in.kv_bits() != 0 && in.kv_bits() != 8) return bad_field("kv_bits must be 0 or 8");
  options.kv_bits = in.kv_bits();
  if (in.threads() < 0 || in.threads() > kMaxThreads) {
    return bad_field("threads must be from 0 to " + std::to_string(kMaxThreads));
  }
  options.threads = in.threads();
  options.memory_bytes = in.memory_bytes();
  options.kv_bytes_max = in.kv_bytes_max();
  return options;
}

void put(const StageInfo& info, v1::StageInfo& out) {
  out.set_first_layer(info.layers.first);
  out.set_last_layer(info.layers.last);
  out.set_layer_count(info.layer_count);
  out.set_hidden_size(info.hidden_size);
  out.set_vocabulary(info.vocabulary);
  out.set_context_max(info.context_max);
  out.set_hidden_dtype(info.hidden_dtype == DType::kBF16 ? v1::DTYPE_BF16 : v1::DTYPE_F32);
  out.set_weight_bytes(info.weight_bytes);
  out.set_weight_bytes_per_token(info.weight_bytes_per_token);
  for (const StateGroup& group : info.states) {
    v1::StateGroup& to = *out.add_states();
    to.set_kind(group.kind == StateKind::kPaged ? v1::STATE_KIND_PAGED : v1::STATE_KIND_WINDOWED);
    to.set_window(group.window);
    to.set_page_bytes(group.page_bytes);
  }
  out.set_kv_bytes_max(info.kv_bytes_max);
  out.set_pages_shared(info.pages_shared);
}

Result<StageInfo> take_info(const v1::StageInfo& in) {
  StageInfo info;
  info.layers = {in.first_layer(), in.last_layer()};
  info.layer_count = in.layer_count();
  if (info.layers.first < 0 || info.layers.last <= info.layers.first ||
      info.layers.last > info.layer_count || info.layer_count > kMaxLayers) {
    return invalid("loaded: its layers are no range of the model's");
  }
  info.hidden_size = in.hidden_size();
  info.vocabulary = in.vocabulary();
  info.context_max = in.context_max();
  if (info.hidden_size < 1 || info.vocabulary < 1 || info.context_max < 1) {
    return invalid("loaded: hidden size, vocabulary and context must be positive");
  }
  if (in.hidden_dtype() != v1::DTYPE_BF16 && in.hidden_dtype() != v1::DTYPE_F32) {
    return invalid("loaded: hidden type must be f32 or bf16");
  }
  info.hidden_dtype = in.hidden_dtype() == v1::DTYPE_BF16 ? DType::kBF16 : DType::kF32;
  info.weight_bytes = in.weight_bytes();
  info.weight_bytes_per_token = in.weight_bytes_per_token();
  info.kv_bytes_max = in.kv_bytes_max();
  info.pages_shared = in.pages_shared();
  if (Status status = take_states(in, info.states); !status.ok()) return status.error();
  return info;
}

void put(const RankWork& work, v1::RankWork& out) {
  out.set_clock_us(work.clock_us);
  out.set_ticks(work.ticks);
  out.set_tokens(work.tokens);
  out.set_busy_us(work.busy_us);
  out.set_waiting_us(work.waiting_us);
  out.set_sent_bytes(work.sent_bytes);
  out.set_predicted_us(work.predicted_us);
}

RankWork take_work(const v1::RankWork& in) {
  return {in.clock_us(),   in.ticks(),      in.tokens(),      in.busy_us(),
          in.waiting_us(), in.sent_bytes(), in.predicted_us()};
}

}  // namespace tandem::cluster
