#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/rows.h"

namespace tandem::kernels {
namespace {

/// Channels of a convolution that one thread takes at a time.
constexpr std::size_t kChannels = 512;
/// Below this many multiply-adds, waking a thread costs more than it saves.
constexpr std::int64_t kSerialWork = 1 << 17;

std::size_t size(int n) { return static_cast<std::size_t>(n); }

std::byte* slot_of(const SequenceRows& rows, std::size_t layer) {
  const KvSequence& kept = rows.layers[layer];
  check(!kept.pages.empty() && kept.pages.front() != nullptr, "a sequence has a slot");
  return kept.pages.front();
}

/// run(begin, end, thread) over [0, tasks), on several threads if there is enough to do.
template <class Run>
void share(ThreadPool* pool, std::int64_t tasks, std::int64_t work, const Run& run) {
  if (pool == nullptr || pool->size() == 1 || work < kSerialWork) return run(0, tasks, 0);
  pool->parallel_for(tasks, 1, run);
}

}  // namespace

mx::array CpuOps::run_causal_conv(const StateSpec& state, const mx::array& x, const mx::array& taps,
                                  const Batch& batch, std::size_t layer) const {
  const auto loop = loops_.recurrent[dtype()].conv;
  const std::size_t item = size_of(dtype());
  const std::size_t channels = size(state.channels);
  return cpu_run("causal_conv", {activation(x), taps}, x.shape(), type(), [&](auto in, auto out) {
    const std::size_t parts = (channels + kChannels - 1) / kChannels;
    const auto tasks = static_cast<std::int64_t>(batch.sequences.size() * parts);
    const auto work = static_cast<std::int64_t>(in[0].size()) * (state.conv_rows + 1);
    share(pool_, tasks, work, [&](std::int64_t first, std::int64_t last, int) {
      for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
        const SequenceRows& r = batch.sequences[i / parts];
        const std::size_t at = size(r.row) * channels * item;
        ConvTask task;
        task.x = bytes_at(in[0]) + at;
        task.taps = in[1].template data<float>();
        task.inputs = slot_of(r, layer);
        task.out = bytes_at(out[0]) + at;
        task.rows = size(r.count);
        task.kept = size(state.conv_rows);
        task.channels = channels;
        task.begin = i % parts * kChannels;
        task.end = std::min(task.begin + kChannels, channels);
        loop(task);
      }
    });
  });
}

mx::array CpuOps::run_gated_delta(const DeltaSpec& spec, const DeltaRows& rows,
                                  const DeltaWeights& weights, const Batch& batch,
                                  std::size_t layer) const {
  const RecurrentLoops& loops = loops_.recurrent[dtype()];
  const StateSpec& state = spec.state;
  const StateLayout layout(state);
  const std::size_t item = size_of(dtype());
  const std::size_t heads = size(state.heads);
  const int tokens = rows.qkv.shape(0);
  const DeltaShape shape{size(spec.key_heads), heads, size(state.key_dim), size(state.value_dim),
                         size(rows.qkv.shape(1))};
  const auto run = [&](auto in, auto out) {
    const std::size_t gates = size(tokens) * heads;
    const std::unique_ptr<float[]> gate(new float[2 * gates]);
    float* decay = gate.get();
    float* rate = decay + gates;
    for_rows(pool_, tokens, state.heads, [&](std::int64_t begin, std::int64_t end) {
      for (auto row = static_cast<std::size_t>(begin); row < static_cast<std::size_t>(end); ++row) {
        const std::size_t at = row * heads;
        loops.delta_gates(in[3].template data<float>(), in[4].template data<float>(),
                          bytes_at(in[1]) + at * item, bytes_at(in[2]) + at * item, decay + at,
                          rate + at, heads);
      }
    });
    const int threads = pool_ == nullptr ? 1 : pool_->size();
    const std::size_t floats = (delta_scratch(shape) + 15) / 16 * 16;
    const std::unique_ptr<float[]> scratch(new float[floats * size(threads)]);
    const auto tasks = static_cast<std::int64_t>(batch.sequences.size() * heads);
    const std::int64_t work =
        std::int64_t{2} * tokens * state.heads * state.key_dim * state.value_dim;
    share(pool_, tasks, work, [&](std::int64_t first, std::int64_t last, int thread) {
      for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
        const SequenceRows& r = batch.sequences[i / heads];
        const std::size_t head = i % heads;
        const std::size_t row = size(r.row);
        DeltaTask task;
        task.qkv = bytes_at(in[0]) + row * shape.row * item;
        task.decay = decay + row * heads;
        task.rate = rate + row * heads;
        task.matrix = reinterpret_cast<float*>(slot_of(r, layer) + layout.matrices) +
                      head * layout.tiles * layout.tile_floats;
        task.out = bytes_at(out[0]) + row * heads * shape.value_dim * item;
        task.rows = size(r.count);
        task.head = head;
        loops.delta(shape, task, scratch.get() + floats * size(thread));
      }
    });
  };
  return cpu_run("gated_delta",
                 {activation(rows.qkv), activation(rows.a), activation(rows.b), weights.log_decay,
                  weights.bias},
                 {tokens, state.heads, state.value_dim}, type(), run);
}

}  // namespace tandem::kernels
