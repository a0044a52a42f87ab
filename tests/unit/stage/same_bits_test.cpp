// The central property: what a sequence computes depends on its tokens only; not on chunks,
// batches, order, threads or how the layers are split.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "models/architecture.h"
#include "support/stages.h"
#include "support/temp_folder.h"
#include "unit/stage/families.h"

namespace tandem::stage {
namespace {

using tandem::testing::Stages;
using tandem::testing::TempFolder;

constexpr int kLayers = 5;
constexpr std::uint32_t kVocabulary = testing::kFamilyVocabulary;
constexpr std::uint32_t kPrompt = 20;  // tokens that presence_penalty does not count

struct Precision {
  std::string name;
  int weight_bits = 0;
  kernels::Activations activations = kernels::Activations::kF32;
  int kv_bits = 0;
};

void PrintTo(const Precision& precision, std::ostream* out) { *out << precision.name; }

/// Bits of every log-probability of every position, and the token drawn after each.
struct Trace {
  std::vector<std::vector<std::uint32_t>> rows;  // of token i + 1, given tokens [0, i]
  std::map<std::uint32_t, std::int32_t> drawn;   // by position of the last token before the draw
};

std::vector<std::uint32_t> bits_of(const std::vector<TokenLogprob>& top) {
  std::vector<std::uint32_t> bits;
  for (const auto& each : top) {
    bits.push_back(static_cast<std::uint32_t>(each.id));
    bits.push_back(std::bit_cast<std::uint32_t>(each.logprob));
  }
  return bits;
}

/// A family and how it computes.
class SameBits : public ::testing::TestWithParam<std::tuple<std::string, Precision>> {
 protected:
  void SetUp() override {
    seed_ = std::random_device{}();
    random_.seed(seed_);
    testing::family_model(std::get<0>(GetParam()), kLayers, precision().weight_bits, seed_)
        .write(folder_.path());
  }

  const Precision& precision() const { return std::get<1>(GetParam()); }
  std::size_t pick(std::size_t n) { return random_() % n; }

  Stages stages(int threads, std::vector<int> cuts) {
    StageOptions options;
    options.folder = folder_.path();
    options.activations = precision().activations;
    options.kv_bits = precision().kv_bits;
    options.threads = threads;
    options.kv_bytes_max = std::uint64_t{1} << 30;
    return {options, std::move(cuts), kLayers};
  }
  Stages random_stages() {
    std::vector<int> cuts;
    for (int layer = 1; layer < kLayers; ++layer) {
      if (pick(2) == 0) cuts.push_back(layer);
    }
    return stages(1 + static_cast<int>(pick(4)), cuts);
  }

  std::vector<std::int32_t> random_tokens(std::size_t count) {
    std::vector<std::int32_t> tokens(count);
    for (auto& token : tokens) token = static_cast<std::int32_t>(pick(kVocabulary));
    return tokens;
  }

  SamplingParams sampling(std::uint64_t sequence) const {
    SamplingParams params;
    params.temperature = 1;
    params.repetition_penalty = 1.2F;
    params.presence_penalty = 0.1F;
    params.presence_context = 0;
    params.seed = 1000 + sequence;
    return params;
  }

  /// Half of the tokens, by sequence and position.
  static std::vector<std::uint32_t> allowed_at(std::uint64_t sequence, std::size_t position) {
    std::mt19937 random(static_cast<unsigned>(sequence * 1000 + position));
    std::vector<std::uint32_t> allowed(kVocabulary / 32);
    for (auto& word : allowed) word = static_cast<std::uint32_t>(random()) | 1U;
    return allowed;
  }

  TickEntry entry(std::uint64_t sequence, const std::vector<std::int32_t>& tokens,
                  std::size_t begin, std::size_t end) const {
    TickEntry made;
    made.sequence = sequence;
    made.position = static_cast<std::uint32_t>(begin);
    made.tokens.assign(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                       tokens.begin() + static_cast<std::ptrdiff_t>(end));
    // The score of every token that follows, and a draw at the end.
    for (std::size_t i = begin; i < end && i + 1 < tokens.size(); ++i) {
      made.wants.push_back(
          {Want::Kind::kScore, static_cast<std::uint32_t>(i - begin), tokens[i + 1], kVocabulary});
    }
    Want draw{.row = static_cast<std::uint32_t>(end - begin - 1)};
    if (sequence % 2 == 0) draw.allowed = allowed_at(sequence, end);
    made.wants.push_back(std::move(draw));
    if (begin == 0) made.sampling = sampling(sequence);
    made.prompt = kPrompt;
    return made;
  }

  static void collect(const Tick& tick, const TickResult& result,
                      std::map<std::uint64_t, Trace>& traces) {
    ASSERT_EQ(result.entries.size(), tick.entries.size());
    for (std::size_t i = 0; i < tick.entries.size(); ++i) {
      const TickEntry& from = tick.entries[i];
      const EntryResult& to = result.entries[i];
      ASSERT_EQ(to.sequence, from.sequence);
      ASSERT_FALSE(to.error.has_value()) << to.error->message;
      ASSERT_EQ(to.tokens.size(), from.wants.size());
      Trace& trace = traces[from.sequence];
      for (std::size_t w = 0; w + 1 < to.tokens.size(); ++w) {
        ASSERT_EQ(trace.rows.size(), from.position + from.wants[w].row);
        trace.rows.push_back(bits_with_logprob(to.tokens[w]));
      }
      const auto last = static_cast<std::uint32_t>(from.position + from.tokens.size() - 1);
      trace.drawn[last] = to.tokens.back().id;
    }
  }

  static std::vector<std::uint32_t> bits_with_logprob(const TokenResult& token) {
    auto bits = bits_of(token.top);
    bits.push_back(std::bit_cast<std::uint32_t>(token.logprob));
    return bits;
  }

  /// The least length that a sequence of so many tokens, computed in one tick, goes on at.
  static std::uint32_t least_kept(Stages& stages, std::size_t tokens) {
    const auto length = static_cast<std::uint32_t>(tokens);
    std::uint32_t least = 0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      for (const StateGroup& group : stages.at(i).info().states) {
        least = std::max(least, group.rule().least_length(length, floor_of(length)));
      }
    }
    return least;
  }

  /// Each sequence alone, one token after the other: the longest way there is.
  std::map<std::uint64_t, Trace> one_by_one(
      const std::map<std::uint64_t, std::vector<std::int32_t>>& sequences) {
    std::map<std::uint64_t, Trace> traces;
    Stages alone = stages(1, {});
    for (const auto& [name, tokens] : sequences) {
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        Tick tick;
        tick.entries.push_back(entry(name, tokens, i, i + 1));
        const auto result = alone.run(tick);
        EXPECT_TRUE(result.ok()) << result.error().message;
        if (!result.ok()) return traces;
        collect(tick, *result, traces);
      }
    }
    return traces;
  }

  /// Chunks of random sequences in random order and company; of `chunk` tokens, or random (0).
  std::map<std::uint64_t, Trace> at_random(
      const std::map<std::uint64_t, std::vector<std::int32_t>>& sequences, std::size_t chunk) {
    std::map<std::uint64_t, Trace> traces;
    std::map<std::uint64_t, std::size_t> done;
    Stages pipeline = random_stages();
    for (;;) {
      std::vector<std::uint64_t> open;
      for (const auto& [name, tokens] : sequences) {
        if (done[name] < tokens.size()) open.push_back(name);
      }
      if (open.empty()) return traces;
      std::shuffle(open.begin(), open.end(), random_);
      open.resize(1 + pick(open.size()));
      Tick tick;
      for (const std::uint64_t name : open) {
        const auto& tokens = sequences.at(name);
        const std::size_t left = tokens.size() - done[name];
        const std::size_t some = pick(3) == 0 ? 1 : 1 + pick(left);
        const std::size_t count = chunk == 0 ? some : std::min(chunk, left);
        tick.entries.push_back(entry(name, tokens, done[name], done[name] + count));
        done[name] += count;
      }
      const auto result = pipeline.run(tick);
      EXPECT_TRUE(result.ok()) << result.error().message;
      if (!result.ok()) return traces;
      collect(tick, *result, traces);
    }
  }

  TempFolder folder_;
  unsigned seed_ = 0;
  std::mt19937 random_;
};

TEST_P(SameBits, InAnyScheduleSplitAndThreadCount) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::map<std::uint64_t, std::vector<std::int32_t>> sequences;
  // Far beyond the windows that some families have.
  for (const std::size_t length : {1U, 7U, 64U, 65U, 150U, 333U}) {
    sequences[sequences.size() + 1] = random_tokens(length);
  }
  const auto expected = one_by_one(sequences);
  for (const std::size_t chunk : {512U, 7U, 1U, 0U, 0U, 0U}) {
    const auto actual = at_random(sequences, chunk);
    for (const auto& [name, trace] : expected) {
      const Trace& other = actual.at(name);
      ASSERT_EQ(other.rows.size(), trace.rows.size());
      for (std::size_t i = 0; i < trace.rows.size(); ++i) {
        ASSERT_EQ(other.rows[i], trace.rows[i])
            << "sequence " << name << ", position " << i + 1 << ", chunks of " << chunk;
      }
      for (const auto& [position, id] : other.drawn) {
        ASSERT_EQ(id, trace.drawn.at(position)) << "sequence " << name << " at " << position;
      }
    }
  }
}

TEST_P(SameBits, AReplayOfPromptAndTokensDrawsTheSame) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::vector<std::int32_t> log = random_tokens(30);
  const std::size_t prompt = log.size();
  Stages first = stages(2, {2});
  while (log.size() < prompt + 50) {
    const std::size_t begin = log.size() == prompt ? 0 : log.size() - 1;
    Tick tick;
    tick.entries.push_back(entry(9, log, begin, log.size()));
    const auto result = first.run(tick);
    ASSERT_TRUE(result.ok()) << result.error().message;
    log.push_back(result->entries.at(0).tokens.back().id);
  }
  for (int round = 0; round < 5; ++round) {
    const std::size_t kept = prompt + pick(log.size() - prompt);
    Stages again = random_stages();
    Tick tick;
    tick.entries.push_back(entry(9, log, 0, kept));
    const auto result = again.run(tick);
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(result->entries.at(0).tokens.back().id, log[kept]) << kept << " tokens";
  }
}

TEST_P(SameBits, AfterAForkOrARewind) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  const auto tokens = random_tokens(240);
  std::map<std::uint64_t, std::vector<std::int32_t>> sequences = {{1, tokens}};
  const auto expected = one_by_one(sequences);
  for (int round = 0; round < 5; ++round) {
    Stages pipeline = random_stages();
    const std::size_t least = std::max<std::size_t>(least_kept(pipeline, tokens.size()), 1);
    // What cannot be taken back is forked before it goes on.
    const bool ahead = least == tokens.size();
    const std::size_t kept =
        ahead ? 1 + pick(tokens.size() - 1) : least + pick(tokens.size() - least);
    // Another continuation of the same prefix, which must leave no trace.
    auto detour = tokens;
    const auto other = random_tokens(tokens.size() - kept);
    std::copy(other.begin(), other.end(), detour.begin() + static_cast<std::ptrdiff_t>(kept));
    Tick tick;
    tick.entries.push_back(entry(7, detour, 0, ahead ? kept : detour.size()));
    ASSERT_TRUE(pipeline.run(tick).ok());

    Tick next;
    const auto length = static_cast<std::uint32_t>(kept);
    if (ahead) {
      if (pick(2) == 0) {  // it goes on in the same tick, or in one of its own
        next.state_ops.push_back({StateOp::Kind::kFork, 1, 7, length});
        next.entries.push_back(entry(7, detour, kept, detour.size()));
      } else {
        next.state_ops.push_back({StateOp::Kind::kFork, 3, 7, length});
        next.state_ops.push_back({StateOp::Kind::kRewind, 7, 0, length});
        next.entries.push_back(entry(7, detour, kept, detour.size()));
        ASSERT_TRUE(pipeline.run(next).ok());
        next = {};
        next.state_ops.push_back({StateOp::Kind::kFork, 1, 3, length});
      }
    } else if (pick(2) == 0) {
      next.state_ops.push_back({StateOp::Kind::kFork, 1, 7, length});
    } else {
      next.state_ops.push_back({StateOp::Kind::kRewind, 7, 0, length});
      next.state_ops.push_back({StateOp::Kind::kFork, 1, 7, length});
    }
    if (!ahead && pick(2) == 0) next.state_ops.push_back({StateOp::Kind::kFree, 7, 0, 0});
    next.entries.push_back(entry(1, tokens, kept, tokens.size()));
    next.entries.back().sampling = sampling(1);
    const auto result = pipeline.run(next);
    ASSERT_TRUE(result.ok()) << result.error().message;
    const EntryResult& resumed = result->entries.back();
    ASSERT_FALSE(resumed.error.has_value()) << resumed.error->message;
    for (std::size_t i = 0; i + 1 < resumed.tokens.size(); ++i) {
      ASSERT_EQ(bits_with_logprob(resumed.tokens[i]), expected.at(1).rows.at(kept + i)) << kept + i;
    }
    EXPECT_EQ(resumed.tokens.back().id,
              expected.at(1).drawn.at(static_cast<std::uint32_t>(tokens.size() - 1)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Families, SameBits,
    ::testing::Combine(::testing::ValuesIn(models::known_model_types()),
                       ::testing::Values(Precision{"f32", 0, kernels::Activations::kF32},
                                         Precision{"bf16", 0, kernels::Activations::kBF16},
                                         Precision{"int8", 4, kernels::Activations::kInt8},
                                         Precision{"int8_kv8", 4, kernels::Activations::kInt8, 8},
                                         Precision{"f32_kv8", 0, kernels::Activations::kF32, 8})),
    [](const auto& tested) {
      return std::get<0>(tested.param) + "_" + std::get<1>(tested.param).name;
    });

}  // namespace
}  // namespace tandem::stage
