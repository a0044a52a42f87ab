#include "kernels/attention.h"

#include <gtest/gtest.h>

#include "attention_checks.h"
#include "node_support.h"

namespace tandem::kernels {
namespace {

constexpr unsigned kSeed = 51;

AttentionSpec spec_of(const AttentionCase& c) {
  return {c.heads, c.kv, c.scale, c.softcap, c.window};
}

/// Rows [begin, begin + count) of [length, heads, dim].
mx::array rows_of(const std::vector<float>& values, int begin, int count, int heads, int dim,
                  mx::Dtype dtype) {
  const auto row = static_cast<std::ptrdiff_t>(heads) * dim;
  return array_of({values.begin() + begin * row, values.begin() + (begin + count) * row},
                  {count, heads, dim}, dtype);
}

/// A sequence that is being fed.
struct Feed {
  AttentionValues values;
  Pages pages;
  KvSequence kv;
  int position = 0;
  std::vector<float> out;

  Feed(const AttentionCase& c, Rng& rng) : values(attention_values(c, rng)), pages(c.kv, c.length) {
    kv.pages = pages.list();
  }
};

/// One call for the next `counts[i]` positions of every feed; results are appended to `out`.
void step(const Ops& ops, const AttentionCase& c, std::vector<Feed*> feeds,
          const std::vector<int>& counts, const std::optional<mx::array>& sinks) {
  std::vector<mx::array> q, k, v;
  std::vector<SequenceRows> rows;
  int row = 0;
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    Feed& feed = *feeds[i];
    const auto part = [&](const std::vector<float>& all, int heads, int dim) {
      return rows_of(all, feed.position, counts[i], heads, dim, mlx_type(ops.dtype()));
    };
    q.push_back(part(feed.values.q, c.heads, c.kv.key_dim));
    k.push_back(part(feed.values.k, c.kv.heads, c.kv.key_dim));
    if (!c.kv.value_in_key) v.push_back(part(feed.values.v, c.kv.heads, c.kv.value_dim));
    rows.push_back({row, counts[i], feed.position, {&feed.kv, 1}});
    row += counts[i];
  }
  const auto joined = [](const std::vector<mx::array>& parts) {
    return mx::concatenate(parts, 0, mx::Device::cpu);
  };
  std::optional<mx::array> values;
  if (!v.empty()) values = joined(v);
  const Batch batch{mx::array(0), std::move(rows)};
  const std::vector<float> out =
      values_of(ops.attention(spec_of(c), {joined(q), joined(k), values}, batch, 0, sinks));
  auto at = out.begin();
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    const auto size = static_cast<std::ptrdiff_t>(counts[i]) * c.heads * c.kv.value_dim;
    feeds[i]->out.insert(feeds[i]->out.end(), at, at + size);
    feeds[i]->position += counts[i];
    at += size;
  }
}

std::optional<mx::array> sinks_of(const AttentionCase& c, Rng& rng) {
  if (!c.sinks) return std::nullopt;
  return array_of(random_values(rng, c.heads), {c.heads});
}

TEST(Attention, LoopsMatchDoubleOnEveryInstructionSet) {
  for (const Isa isa : available_isas()) {
    for (const AttentionCase& c : attention_cases()) {
      for (const DType element : kElements) {
        EXPECT_LE(check_attention(loops_of(isa).attention, c, element, kSeed), 1)
            << isa_name(isa) << " " << c.name << " " << name_of(element);
      }
    }
  }
}

TEST(Attention, LoopsGiveTheSameBitsInAnyChunksAndBlocks) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  for (const Isa isa : available_isas()) {
    for (const AttentionCase& c : attention_cases()) {
      EXPECT_TRUE(chunks_agree(loops_of(isa).attention, c, DType::kF32, seed))
          << isa_name(isa) << " " << c.name << " seed " << seed;
    }
  }
}

TEST(Attention, RandomSchedulesOfABatchGiveTheBitsOfEachSequenceAlone) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  Rng rng(seed);
  ThreadPool one(1);
  ThreadPool four(4);
  for (const AttentionCase& base : attention_cases()) {
    for (const Isa isa : available_isas()) {
      SCOPED_TRACE(base.name + " " + std::string(isa_name(isa)) + " seed " + std::to_string(seed));
      const auto activations = rng() % 2 == 0 ? Activations::kInt8 : Activations::kBF16;
      const auto alone = test::ops_of(isa, activations, &one);
      const auto together = test::ops_of(isa, activations, &four);
      const std::optional<mx::array> sinks = sinks_of(base, rng);
      const auto data = static_cast<unsigned>(rng());
      std::vector<AttentionCase> cases;
      std::vector<std::unique_ptr<Feed>> batch;
      std::vector<std::vector<float>> want;
      for (unsigned i = 0; i < 3; ++i) {
        cases.push_back(base);
        cases.back().length = 1 + static_cast<int>(rng() % base.length);
        Rng single(data + i), again(data + i);
        Feed whole(cases.back(), single);
        step(*alone, base, {&whole}, {cases.back().length}, sinks);
        want.push_back(whole.out);
        batch.push_back(std::make_unique<Feed>(cases.back(), again));
      }
      for (;;) {
        std::vector<Feed*> feeds;
        std::vector<int> counts;
        bool left = false;
        for (std::size_t i = 0; i < batch.size(); ++i) {
          const int rest = cases[i].length - batch[i]->position;
          left = left || rest > 0;
          if (rest == 0 || rng() % 3 == 0) continue;
          feeds.push_back(batch[i].get());
          counts.push_back(rng() % 2 == 0 ? 1 : 1 + static_cast<int>(rng() % rest));
        }
        if (!left) break;
        if (!feeds.empty()) step(*together, base, feeds, counts, sinks);
      }
      for (std::size_t i = 0; i < batch.size(); ++i) {
        EXPECT_TRUE(same_bits(batch[i]->out, want[i])) << "sequence " << i;
      }
    }
  }
}

TEST(Attention, MatchesMlxInPrefillAndDecode) {
  Rng rng(kSeed);
  ThreadPool pool(2);
  for (const AttentionCase& c : attention_cases()) {
    for (const Activations activations : {Activations::kInt8, Activations::kBF16}) {
      SCOPED_TRACE(c.name);
      const Isa isa = available_isas().front();
      const auto cpu = test::ops_of(isa, activations, &pool);
      const auto mlx = test::ops_of(isa, activations, nullptr, test::Backend::kMlx);
      // MLX keeps what we quantize as it is: then results are only alike.
      AttentionCase unquantized = c;
      const bool int8 = c.kv.type == DType::kI8;
      if (int8) unquantized.kv.type = DType::kF32;
      const std::optional<mx::array> sinks = sinks_of(c, rng);
      const auto data = static_cast<unsigned>(rng());
      std::vector<std::unique_ptr<Feed>> ours, theirs;
      for (unsigned i = 0; i < 2; ++i) {
        Rng a(data + i), b(data + i);
        ours.push_back(std::make_unique<Feed>(c, a));
        theirs.push_back(std::make_unique<Feed>(unquantized, b));
      }
      const int first = std::max(1, c.length - 3);
      for (int n = first; n <= c.length; ++n) {
        const int count = n == first ? first : 1;
        step(*cpu, c, {ours[0].get(), ours[1].get()}, {count, count}, sinks);
        step(*mlx, unquantized, {theirs[0].get(), theirs[1].get()}, {count, count}, sinks);
      }
      for (int i = 0; i < 2; ++i) {
        EXPECT_LE(largest_difference(ours[i]->out, theirs[i]->out),
                  int8                                ? 0.1
                  : activations == Activations::kBF16 ? 0.04
                                                      : 1e-5);
      }
    }
  }
}

TEST(Attention, ChunksOfOneSequenceInOneCallSeeEachOther) {
  ThreadPool pool(2);
  const AttentionCase c{"two chunks", {1, 16, 16, false, DType::kF32}, 2, 100, 0.25f};
  Rng a(1), b(1);
  Feed whole(c, a);
  Feed split(c, b);
  const auto ops = test::ops_of(available_isas().front(), Activations::kF32, &pool);
  step(*ops, c, {&whole}, {100}, std::nullopt);
  const auto part = [&](const std::vector<float>& values, int heads) {
    return rows_of(values, 0, 100, heads, 16, mx::float32);
  };
  const Batch batch{mx::array(0), {{0, 30, 0, {&split.kv, 1}}, {30, 70, 30, {&split.kv, 1}}}};
  const AttentionRows rows{part(split.values.q, 2), part(split.values.k, 1),
                           part(split.values.v, 1)};
  const std::vector<float> out = values_of(ops->attention(spec_of(c), rows, batch, 0));
  EXPECT_TRUE(same_bits(out, whole.out));
}

TEST(Attention, ACopiedPageServesAnotherSequence) {
  ThreadPool pool(1);
  const AttentionCase c{"shared prefix", {2, 24, 16, false, DType::kBF16}, 4, 90, 0.2f};
  Rng a(2), b(2);
  Feed first(c, a);
  Feed second(c, b);
  const auto ops = test::ops_of(available_isas().front(), Activations::kInt8, &pool);
  step(*ops, c, {&first}, {90}, std::nullopt);
  // Positions [0, 80) come from the first sequence's pages, the second of which is half its own.
  for (int page = 0; page < 2; ++page) {
    std::memcpy(second.kv.pages[page], first.kv.pages[page], kv_page_bytes(c.kv));
  }
  second.position = 80;
  step(*ops, c, {&second}, {10}, std::nullopt);
  EXPECT_TRUE(same_bits(second.out, {first.out.end() - 10 * 4 * 16, first.out.end()}));
}

TEST(Attention, PagesAreWholeCacheLines) {
  for (const AttentionCase& c : attention_cases()) {
    EXPECT_EQ(kv_page_bytes(c.kv) % 64, 0u) << c.name;
  }
  EXPECT_EQ(kv_page_bytes({8, 64, 64, false, DType::kBF16}), 64u * 8 * 2 * 64 * 2);
  EXPECT_EQ(kv_page_bytes({1, 576, 512, true, DType::kBF16}), 64u * 576 * 2);
  // An element a byte, and a scale for each 64 of them.
  EXPECT_EQ(kv_page_bytes({8, 64, 64, false, DType::kI8}), 64u * 8 * 2 * (64 + 4));
  EXPECT_EQ(kv_page_bytes({1, 576, 512, true, DType::kI8}), 64u * (576 + 9 * 4));
}

TEST(Attention, AnElementThatIsNotFiniteShowsWhereItIsSeen) {
  ThreadPool pool(1);
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF}) {
      const AttentionCase c{"not finite", {1, 16, 16, false, type}, 1, 70, 0.25f};
      Rng rng(4);
      Feed feed(c, rng);
      feed.values.v[40 * 16 + 5] = bad;
      const auto ops = test::ops_of(available_isas().front(), Activations::kInt8, &pool);
      step(*ops, c, {&feed}, {70}, std::nullopt);
      for (int token = 0; token < 70; ++token) {
        EXPECT_EQ(std::isfinite(feed.out[token * 16 + 5]), token < 40) << token;
      }
    }
  }
}

TEST(Attention, ValuesTooSmallForAScaleReadAsZero) {
  const KvLayout layout({1, 16, 16, false, DType::kI8});
  std::vector<std::byte> head(layout.head_bytes);
  const std::vector<float> tiny(16, 1e-42f);
  const auto* row = reinterpret_cast<const std::byte*>(tiny.data());
  write_kv(layout, head.data(), 3, DType::kF32, row, row);
  float scale = 0;
  std::memcpy(&scale, head.data() + layout.value_scales + 3 * sizeof(float), sizeof(float));
  EXPECT_LT(scale, 1e-42f);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(head[layout.value_offset + 3 * layout.value_stride + i], std::byte{0});
  }
}

}  // namespace
}  // namespace tandem::kernels
