#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "kernels/cpu/rows.h"

namespace tandem::kernels {
namespace {

/// Most query rows that share one pass over the keys.
constexpr std::int64_t kBlockRows = 32;
/// Below this many multiply-adds, waking a thread costs more than it saves.
constexpr std::int64_t kSerialWork = 1 << 18;

/// One call: writes, then blocks of query rows.
struct AttentionWork {
  const AttentionLoops& loops;
  AttentionShape shape;
  std::size_t kv_heads;
  std::span<const SequenceRows> rows;
  std::size_t layer;
  ThreadPool* pool;
  std::size_t item;
  std::int64_t tokens;

  void write(const std::byte* k, const std::byte* v) const {
    const std::size_t key = shape.kv.key_dim * item;
    const std::size_t value = shape.kv.value_dim * item;
    // Work is shared by head: tokens of one head share cache lines. A key's elements each lie in a
    // line of their own.
    constexpr std::int64_t kScattered = 8;
    const auto elements =
        tokens * static_cast<std::int64_t>(kScattered * shape.kv.key_dim + shape.kv.value_dim);
    for_rows(pool, static_cast<std::int64_t>(kv_heads), elements,
             [&](std::int64_t first, std::int64_t last) {
               for (auto h = static_cast<std::size_t>(first); h < static_cast<std::size_t>(last);
                    ++h) {
                 for (const SequenceRows& r : rows) {
                   for (std::int64_t i = 0; i < r.count; ++i) {
                     const auto at = static_cast<std::size_t>(r.row + i) * kv_heads + h;
                     const auto position = static_cast<std::size_t>(r.position + i);
                     std::byte* page = r.layers[layer].pages[position / kPageTokens];
                     write_kv(shape.kv, page + h * shape.kv.head_bytes, position % kPageTokens,
                              shape.type, k + at * key, v == nullptr ? nullptr : v + at * value);
                   }
                 }
               }
             });
  }

  std::int64_t work_of(const SequenceRows& r) const {
    const std::int64_t seen = r.position + r.count;
    const std::int64_t keys = shape.window == 0 ? seen : std::min(seen, shape.window + r.count);
    return r.count * keys * static_cast<std::int64_t>(shape.heads) *
           static_cast<std::int64_t>(shape.kv.key_dim + shape.kv.value_dim);
  }

  /// Any split gives the same bits; small enough that threads stay busy, long ones first.
  std::vector<AttentionBlock> blocks(const std::byte* q, std::byte* out, const float* sinks,
                                     std::int64_t step) const {
    std::vector<AttentionBlock> all;
    const auto group = static_cast<std::int64_t>(shape.group);
    for (const SequenceRows& r : rows) {
      const std::int64_t total = r.count * group;
      for (std::int64_t end = total; end > 0; end -= std::min(step, end)) {
        for (std::size_t h = 0; h < kv_heads; ++h) {
          const std::size_t head = static_cast<std::size_t>(r.row) * shape.heads + h * shape.group;
          AttentionBlock block;
          block.pages = r.layers[layer].pages.data();
          block.head_offset = h * shape.kv.head_bytes;
          block.q = q + head * shape.kv.key_dim * item;
          block.out = out + head * shape.kv.value_dim * item;
          block.sinks = sinks == nullptr ? nullptr : sinks + h * shape.group;
          block.position = r.position;
          block.begin = std::max<std::int64_t>(0, end - step);
          block.end = end;
          all.push_back(block);
        }
      }
    }
    return all;
  }

  void attend(const std::byte* q, std::byte* out, const float* sinks) const {
    std::int64_t work = 0;
    for (const SequenceRows& r : rows) work += work_of(r);
    const int threads = pool == nullptr || work < kSerialWork ? 1 : pool->size();
    const std::int64_t share =
        tokens * static_cast<std::int64_t>(shape.heads) / (std::int64_t{4} * threads);
    const std::int64_t step =
        threads == 1 ? kBlockRows : std::clamp<std::int64_t>(share & ~3, 4, kBlockRows);
    const std::vector<AttentionBlock> all = blocks(q, out, sinks, step);
    const std::size_t floats =
        (attention_scratch(shape, static_cast<std::size_t>(step)) + 15) / 16 * 16;
    const std::unique_ptr<float[]> scratch(new float[floats * static_cast<std::size_t>(threads)]);
    const auto run = [&](std::int64_t begin, std::int64_t end, int thread) {
      float* own = scratch.get() + floats * static_cast<std::size_t>(thread);
      for (std::int64_t i = begin; i < end; ++i) {
        loops.attend(shape, all[static_cast<std::size_t>(i)], own);
      }
    };
    const auto count = static_cast<std::int64_t>(all.size());
    if (pool == nullptr || work < kSerialWork) return run(0, count, 0);
    pool->parallel_for(count, 1, run);
  }
};

void check_pages(std::span<const SequenceRows> rows, std::size_t layer) {
  for (const SequenceRows& r : rows) {
    const std::int64_t pages = (r.position + r.count + kPageTokens - 1) / kPageTokens;
    check(static_cast<std::int64_t>(r.layers[layer].pages.size()) >= pages,
          "a sequence has a page for every position");
  }
}

}  // namespace

mx::array CpuOps::run_attention(const AttentionSpec& spec, const AttentionRows& rows,
                                const Batch& batch, std::size_t layer,
                                const std::optional<mx::array>& sinks) const {
  check_pages(batch.sequences, layer);
  AttentionShape shape;
  shape.type = dtype();
  shape.kv = KvLayout(spec.kv);
  shape.heads = static_cast<std::size_t>(spec.heads);
  shape.group = static_cast<std::size_t>(spec.heads / spec.kv.heads);
  shape.scale = spec.scale;
  shape.softcap = spec.softcap;
  shape.window = spec.window;
  const int tokens = rows.q.shape(0);
  const AttentionWork work{loops_.attention,
                           shape,
                           static_cast<std::size_t>(spec.kv.heads),
                           batch.sequences,
                           layer,
                           pool_,
                           size_of(shape.type),
                           static_cast<std::int64_t>(tokens)};
  std::vector<mx::array> inputs = {activation(rows.q), activation(rows.k)};
  if (rows.v) inputs.push_back(activation(*rows.v));
  if (sinks) inputs.push_back(*sinks);
  return cpu_run("attention", std::move(inputs), {tokens, spec.heads, spec.kv.value_dim}, type(),
                 [&](auto in, auto out) {
                   work.write(bytes_at(in[1]), rows.v ? bytes_at(in[2]) : nullptr);
                   const std::size_t last = rows.v ? 3 : 2;
                   const float* weights = sinks ? in[last].template data<float>() : nullptr;
                   work.attend(bytes_at(in[0]), bytes_at(out[0]), weights);
                 });
}

}  // namespace tandem::kernels
