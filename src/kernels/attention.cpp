#include "kernels/attention.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "kernels/attention_mlx.h"
#include "kernels/attention_table.h"
#include "kernels/cpu_run.h"
#include "kernels/rows.h"

namespace tandem::kernels {

const AttentionLoops& attention_loops(Isa isa) {
  switch (isa) {
#ifdef TANDEM_ISA_avx512
    case Isa::kAvx512Vnni:
      return avx512::kAttention;
#endif
#ifdef TANDEM_ISA_avx2
    case Isa::kAvx2:
      return avx2::kAttention;
#endif
#ifdef TANDEM_ISA_neon
    case Isa::kNeon:
      return neon::kAttention;
#endif
    case Isa::kPortable:
      return portable::kAttention;
    default:
      check(false, "the instruction set of a context is resolved and in this build");
  }
  return portable::kAttention;
}

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
                     std::byte* page = r.kv->pages[position / kPageTokens];
                     write_kv(shape.kv, page + h * shape.kv.head_bytes, position % kPageTokens,
                              shape.element, k + at * key, v == nullptr ? nullptr : v + at * value);
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
          block.pages = r.kv->pages.data();
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

void check_inputs(const AttentionSpec& spec, const mx::array& q, const mx::array& k,
                  const std::optional<mx::array>& v, std::span<const SequenceRows> rows) {
  const KvSpec& kv = spec.kv;
  check(kv.heads > 0 && kv.key_dim > 0 && kv.value_dim > 0 && spec.heads % kv.heads == 0,
        "query heads are a multiple of KV heads");
  check(q.ndim() == 3 && q.shape(1) == spec.heads && q.shape(2) == kv.key_dim,
        "queries are [tokens, heads, key_dim]");
  check(k.ndim() == 3 && k.shape(0) == q.shape(0) && k.shape(1) == kv.heads &&
            k.shape(2) == kv.key_dim,
        "keys are [tokens, kv heads, key_dim]");
  check(v.has_value() != kv.value_in_key, "values are given unless they lie in the keys");
  check(!kv.value_in_key || kv.value_dim <= kv.key_dim, "values in keys fit them");
  if (v) {
    check(v->ndim() == 3 && v->shape(0) == q.shape(0) && v->shape(1) == kv.heads &&
              v->shape(2) == kv.value_dim,
          "values are [tokens, kv heads, value_dim]");
  }
  int row = 0;
  for (const SequenceRows& r : rows) {
    check(r.row == row && r.count >= 0 && r.position >= 0 && r.kv != nullptr,
          "sequences cover the rows in order");
    row += r.count;
  }
  check(row == q.shape(0), "sequences cover all rows");
}

void check_pages(std::span<const SequenceRows> rows) {
  for (const SequenceRows& r : rows) {
    const std::int64_t pages = (r.position + r.count + kPageTokens - 1) / kPageTokens;
    check(static_cast<std::int64_t>(r.kv->pages.size()) >= pages,
          "a sequence has a page for every position");
  }
}

}  // namespace

mx::array attention(const Context& context, const AttentionSpec& spec, const mx::array& q,
                    const mx::array& k, const std::optional<mx::array>& v,
                    std::span<const SequenceRows> rows, const std::optional<mx::array>& sinks) {
  check_inputs(spec, q, k, v, rows);
  std::optional<mx::array> sink;
  if (sinks) sink = as_f32(context, *sinks);
  if (context.backend == Backend::kMlx) return attention_mlx(context, spec, q, k, v, rows, sink);
  check_pages(rows);
  AttentionShape shape;
  shape.element = element_of(context);
  shape.kv = KvLayout(spec.kv);
  shape.heads = static_cast<std::size_t>(spec.heads);
  shape.group = static_cast<std::size_t>(spec.heads / spec.kv.heads);
  shape.scale = spec.scale;
  shape.softcap = spec.softcap;
  shape.window = spec.window;
  const AttentionWork work{attention_loops(context.isa),
                           shape,
                           static_cast<std::size_t>(spec.kv.heads),
                           rows,
                           context.pool,
                           bytes_of(shape.element),
                           static_cast<std::int64_t>(q.shape(0))};
  std::vector<mx::array> inputs = {activation(context, q), activation(context, k)};
  if (v) inputs.push_back(activation(context, *v));
  if (sink) inputs.push_back(*sink);
  return cpu_run("attention", std::move(inputs), {q.shape(0), spec.heads, spec.kv.value_dim},
                 context.dtype(), [&](auto in, auto out) {
                   work.write(bytes_at(in[1]), v ? bytes_at(in[2]) : nullptr);
                   const float* weights = sink ? in[v ? 3 : 2].template data<float>() : nullptr;
                   work.attend(bytes_at(in[0]), bytes_at(out[0]), weights);
                 });
}

}  // namespace tandem::kernels
