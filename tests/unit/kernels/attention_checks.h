#pragma once
// Attention loops against a twin in plain double arithmetic, over any split into blocks. Free of
// MLX and of the test framework, so that the same checks run on an emulated CPU.

#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "kernels/cpu/attention_table.h"
#include "loop_values.h"

namespace tandem::kernels {

/// One sequence in one layer: sizes, options, and values as stored.
struct AttentionCase {
  std::string name;
  KvSpec kv;
  int heads = 0;
  int length = 0;
  float scale = 1;
  float softcap = 0;
  int window = 0;
  bool sinks = false;
};

struct AttentionValues {
  std::vector<float> q;  // [length][heads][key_dim]
  std::vector<float> k;  // [length][kv heads][key_dim]
  std::vector<float> v;  // [length][kv heads][value_dim]
  std::vector<float> sinks;
};

inline AttentionValues attention_values(const AttentionCase& c, Rng& rng) {
  const auto n = static_cast<std::size_t>(c.length);
  const auto kv = static_cast<std::size_t>(c.kv.heads);
  AttentionValues values;
  values.q = random_values(rng, n * c.heads * c.kv.key_dim);
  values.k = random_values(rng, n * kv * c.kv.key_dim);
  if (!c.kv.value_in_key) values.v = random_values(rng, n * kv * c.kv.value_dim);
  if (c.sinks) values.sinks = random_values(rng, c.heads);
  return values;
}

/// What the cache keeps of `row`'s elements: element `d` as it reads back.
inline double kept(const float* row, int n, int d, DType element, DType type) {
  if (type == DType::kF32) return rounded(row[d], element);
  if (type == DType::kBF16) return rounded(rounded(row[d], element), DType::kBF16);
  const int first = d / kInt8Group * kInt8Group;
  float largest = 0;
  for (int i = first; i < std::min(n, first + kInt8Group); ++i) {
    largest = std::max(largest, std::abs(rounded(row[i], element)));
  }
  if (largest == 0) return 0;
  return std::nearbyint(rounded(row[d], element) * (127 / largest)) *
         static_cast<double>(largest / 127);
}

/// The result of query `t`, head `h`.
inline std::vector<double> attention_twin(const AttentionCase& c, const AttentionValues& values,
                                          DType element, int t, int h) {
  const int head = h / (c.heads / c.kv.heads);
  const auto key = [&](int token, int d) {
    const auto at = (static_cast<std::size_t>(token) * c.kv.heads + head) * c.kv.key_dim;
    return kept(values.k.data() + at, c.kv.key_dim, d, element, c.kv.type);
  };
  const auto value = [&](int token, int d) {
    if (c.kv.value_in_key) return key(token, d);
    const auto at = (static_cast<std::size_t>(token) * c.kv.heads + head) * c.kv.value_dim;
    return kept(values.v.data() + at, c.kv.value_dim, d, element, c.kv.type);
  };
  const int first = c.window == 0 ? 0 : std::max(0, t - c.window + 1);
  std::vector<double> scores;
  double top = c.sinks ? values.sinks[h] : -std::numeric_limits<double>::infinity();
  for (int token = first; token <= t; ++token) {
    double score = 0;
    for (int d = 0; d < c.kv.key_dim; ++d) {
      const auto at = (static_cast<std::size_t>(t) * c.heads + h) * c.kv.key_dim + d;
      score += rounded(values.q[at], element) * key(token, d);
    }
    score *= c.scale;
    if (c.softcap != 0) score = c.softcap * std::tanh(score / c.softcap);
    scores.push_back(score);
    top = std::max(top, score);
  }
  double sum = c.sinks ? std::exp(values.sinks[h] - top) : 0;
  for (double& score : scores) sum += score = std::exp(score - top);
  std::vector<double> out(c.kv.value_dim, 0.0);
  for (int token = first; token <= t; ++token) {
    const double weight = scores[token - first] / sum;
    for (int d = 0; d < c.kv.value_dim; ++d) out[d] += weight * value(token, d);
  }
  return out;
}

/// Pages of one sequence, first filled with NaN: what is not written must not matter.
class Pages {
 public:
  Pages(const KvSpec& spec, int tokens) {
    const std::size_t bytes = kv_page_bytes(spec);
    const int count = (tokens + kPageTokens - 1) / kPageTokens;
    for (int i = 0; i < count; ++i) {
      memory_.push_back(std::make_unique<std::byte[]>(bytes + 64));
      std::byte* raw = memory_.back().get();
      std::byte* start = raw + (64 - reinterpret_cast<std::uintptr_t>(raw) % 64);
      std::memset(start, 0xff, bytes);
      pages_.push_back(start);
    }
  }
  std::vector<std::byte*>& list() { return pages_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> memory_;
  std::vector<std::byte*> pages_;
};

/// Runs a case through the loops in chunks of queries, and these in blocks of rows; chunk 0: all at
/// once. Every chunk is written before it is attended, as a prefill in chunks does.
inline std::vector<float> run_attention(const AttentionLoops& loops, const AttentionCase& c,
                                        const AttentionValues& values, DType element, int chunk,
                                        int block_rows) {
  const auto n = static_cast<std::size_t>(c.length);
  const std::size_t item = element == DType::kBF16 ? 2 : 4;
  AttentionShape shape;
  shape.type = element;
  shape.kv = KvLayout(c.kv);
  shape.heads = c.heads;
  shape.group = c.heads / c.kv.heads;
  shape.scale = c.scale;
  shape.softcap = c.softcap;
  shape.window = c.window;
  const Buffer q(element, values.q, 1), k(element, values.k, 3), v(element, values.v, 1);
  Buffer out(element, n * c.heads * c.kv.value_dim, 3);
  Pages pages(c.kv, c.length);
  std::vector<float> scratch(attention_scratch(shape, block_rows));
  const int step = chunk == 0 ? c.length : chunk;
  for (int position = 0; position < c.length; position += step) {
    const int count = std::min(step, c.length - position);
    for (int t = position; t < position + count; ++t) {
      for (int h = 0; h < c.kv.heads; ++h) {
        const std::size_t at = static_cast<std::size_t>(t) * c.kv.heads + h;
        write_kv(shape.kv, pages.list()[t / kPageTokens] + h * shape.kv.head_bytes, t % kPageTokens,
                 element, k.data() + at * c.kv.key_dim * item,
                 c.kv.value_in_key ? nullptr : v.data() + at * c.kv.value_dim * item);
      }
    }
    for (int h = 0; h < c.kv.heads; ++h) {
      const std::size_t head = static_cast<std::size_t>(position) * shape.heads + h * shape.group;
      AttentionBlock block;
      block.pages = pages.list().data();
      block.head_offset = h * shape.kv.head_bytes;
      block.q = q.data() + head * c.kv.key_dim * item;
      block.out = out.data() + head * c.kv.value_dim * item;
      block.sinks = c.sinks ? values.sinks.data() + h * shape.group : nullptr;
      block.position = position;
      const std::int64_t rows = static_cast<std::int64_t>(count) * shape.group;
      for (std::int64_t begin = 0; begin < rows; begin += block_rows) {
        block.begin = begin;
        block.end = std::min<std::int64_t>(rows, begin + block_rows);
        loops.attend(shape, block, scratch.data());
      }
    }
  }
  std::vector<float> result(out.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = out[i];
  if (!out.guards_hold()) result.clear();
  return result;
}

/// Shapes of the families, and odd small ones.
inline std::vector<AttentionCase> attention_cases() {
  const auto kv = [](int heads, int key, int value, DType type, bool in_key = false) {
    return KvSpec{heads, key, value, in_key, type};
  };
  const auto bf16 = DType::kBF16;
  const auto f32 = DType::kF32;
  const auto int8 = DType::kI8;
  return {
      {"grouped 64", kv(2, 64, 64, bf16), 8, 150, 0.125f},
      {"grouped 128 f32", kv(2, 128, 128, f32), 6, 70, 0.0884f},
      {"one head each 96", kv(3, 96, 96, bf16), 3, 67, 0.1f},
      {"80 window", kv(1, 80, 80, bf16), 4, 200, 0.11f, 0, 65},
      {"256 softcap window", kv(1, 256, 256, bf16), 2, 140, 0.0625f, 20, 64},
      {"window of one", kv(1, 8, 8, f32), 2, 130, 0.4f, 0, 1},
      {"sinks", kv(2, 64, 64, bf16), 4, 131, 0.125f, 0, 100, true},
      {"12", kv(1, 12, 12, f32), 5, 66, 0.3f, 30},
      {"20 and 8", kv(2, 20, 8, bf16), 4, 65, 0.25f},
      {"mla 192 and 128", kv(2, 192, 128, bf16), 2, 90, 0.07f},
      {"mla latent", kv(1, 576, 512, bf16, true), 6, 70, 0.07f},
      {"mla latent f32", kv(1, 576, 512, f32, true), 5, 66, 0.07f},
      {"small latent", kv(1, 20, 12, f32, true), 7, 130, 0.2f, 0, 70, true},
      {"one token", kv(1, 64, 64, bf16), 4, 1, 0.125f},
      {"int8 grouped 64", kv(2, 64, 64, int8), 8, 150, 0.125f},
      {"int8 128 sinks", kv(2, 128, 128, int8), 6, 131, 0.0884f, 0, 100, true},
      {"int8 96 one head each", kv(3, 96, 96, int8), 3, 67, 0.1f},
      {"int8 256 softcap window", kv(1, 256, 256, int8), 2, 140, 0.0625f, 20, 64},
      {"int8 20 and 8", kv(2, 20, 8, int8), 4, 65, 0.25f},
      {"int8 192 and 128", kv(2, 192, 128, int8), 2, 90, 0.07f},
      {"int8 latent", kv(1, 576, 512, int8, true), 6, 70, 0.07f},
      {"int8 small latent", kv(1, 20, 12, int8, true), 7, 130, 0.2f, 0, 70, true},
  };
}

/// Worst distance from the twin. 5e-6: what a chain of 576 float32 sums may move a score.
inline double check_attention(const AttentionLoops& loops, const AttentionCase& c, DType element,
                              unsigned seed) {
  Rng rng(seed);
  const AttentionValues values = attention_values(c, rng);
  const std::vector<float> out = run_attention(loops, c, values, element, 0, 32);
  if (out.empty()) return 1e9;
  double worst = 0;
  std::size_t i = 0;
  for (int t = 0; t < c.length; ++t) {
    for (int h = 0; h < c.heads; ++h) {
      for (const double want : attention_twin(c, values, element, t, h)) {
        worst = std::max(worst, distance(out[i++], want, element, 1e-6, 5e-6));
      }
    }
  }
  return worst;
}

/// Whether any chunks and blocks give the bits of all at once.
inline bool chunks_agree(const AttentionLoops& loops, const AttentionCase& c, DType element,
                         unsigned seed) {
  Rng rng(seed);
  const AttentionValues values = attention_values(c, rng);
  const std::vector<float> all = run_attention(loops, c, values, element, 0, 32);
  for (const int chunk : {1, 7, 1 + static_cast<int>(rng() % 100)}) {
    for (const int rows : {3, 1 + static_cast<int>(rng() % 40)}) {
      const std::vector<float> some = run_attention(loops, c, values, element, chunk, rows);
      if (some.size() != all.size() ||
          std::memcmp(some.data(), all.data(), all.size() * sizeof(float)) != 0) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace tandem::kernels
