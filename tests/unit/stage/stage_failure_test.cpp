#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_run.h"
#include "stage/decoder_stage.h"

namespace tandem::stage {
namespace {

constexpr int kHidden = 8;
constexpr int kVocabulary = 4;

/// A loop that runs out of memory on a pool's thread while `broken`, and copies its input else.
mx::array step(ThreadPool& pool, const std::atomic<bool>& broken, const mx::array& x) {
  return kernels::cpu_run("step", {x}, x.shape(), x.dtype(),
                          [&](std::span<const mx::array> in, std::span<mx::array> out) {
                            const auto* from = in[0].data<float>();
                            auto* to = out[0].data<float>();
                            const auto n = static_cast<std::int64_t>(in[0].size());
                            pool.parallel_for(n, 1, [&](std::int64_t begin, std::int64_t end, int) {
                              if (broken && end == n) throw std::bad_alloc();
                              for (std::int64_t i = begin; i < end; ++i) to[i] = from[i];
                            });
                          });
}

class BreakableDecoder final : public models::Decoder {
 public:
  BreakableDecoder(ThreadPool& pool, const std::atomic<bool>& broken)
      : pool_(pool), broken_(broken) {}

  std::vector<kernels::LayerKept> kept() const override {
    kernels::KvSpec spec;
    spec.heads = 1;
    spec.key_dim = spec.value_dim = 16;
    return {spec};
  }
  std::vector<int> windows() const override { return {0}; }
  std::uint64_t weight_bytes() const override { return 0; }
  std::uint64_t weight_bytes_per_token() const override { return 0; }
  mx::array embed(const mx::array& ids) const override {
    return mx::ones({ids.shape(0), kHidden}, mx::float32, mx::Device::cpu);
  }
  mx::array forward(mx::array hidden, const kernels::Batch&) const override {
    for (int i = 0; i < 5; ++i) hidden = step(pool_, broken_, hidden);
    return hidden;
  }
  mx::array head(const mx::array& hidden) const override {
    return mx::slice(hidden, {0, 0}, {hidden.shape(0), kVocabulary}, mx::Device::cpu);
  }

 private:
  ThreadPool& pool_;
  const std::atomic<bool>& broken_;
};

Tick tick(std::uint64_t sequence) {
  Tick made;
  made.epoch = 1;
  TickEntry entry;
  entry.sequence = sequence;
  entry.tokens = {1, 2, 3};
  entry.wants = {{.row = 2}};
  made.entries.push_back(std::move(entry));
  return made;
}

TEST(StageFailure, ALoopWithoutMemoryIsOneLineAndTheStageRunsOn) {
  std::atomic<bool> broken{false};
  auto pool = std::make_unique<ThreadPool>(3);
  auto ops = std::make_unique<kernels::CpuOps>(
      kernels::Activations::kF32, kernels::Isa::kPortable, pool.get(),
      mx::new_thread_unsafe_stream(mx::Device(mx::Device::cpu)));
  StageInfo info;
  info.layers = {0, 1};
  info.layer_count = 1;
  info.hidden_size = kHidden;
  info.vocabulary = kVocabulary;
  info.context_max = 64;
  info.kv_bytes_max = 1 << 20;
  auto decoder = std::make_unique<BreakableDecoder>(*pool, broken);
  DecoderStage stage(StageParts{info, std::move(pool), std::move(ops), std::move(decoder)});
  for (std::uint64_t round = 0; round < 20; ++round) {
    broken = true;
    Tick failing = tick(2 * round);
    const auto failed = stage.run(failing, {});
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code, ErrorCode::kInternal);
    EXPECT_EQ(failed.error().message,
              "layers [0, 1): the computation failed: step: the system has no more memory");
    broken = false;
    Tick next = tick(2 * round + 1);
    next.state_ops.push_back({StateOp::Kind::kFree, 2 * round, 0, 0});
    const auto output = stage.run(next, {});
    ASSERT_TRUE(output.ok()) << output.error().message;
    EXPECT_EQ(output->result->entries.at(0).tokens.size(), 1U);
  }
  EXPECT_TRUE(stage.check_integrity().ok());
}

}  // namespace
}  // namespace tandem::stage
