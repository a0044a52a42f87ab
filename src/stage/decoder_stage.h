#pragma once
// The stage that runs a Decoder.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "cache/kv_cache.h"
#include "kernels/ops.h"
#include "models/decoder.h"
#include "stage/admission.h"
#include "stage/sequence_states.h"
#include "stage/stage.h"
#include "stage/tick_check.h"
#include "stage/tick_output.h"

namespace tandem::stage {

namespace mx = mlx::core;

/// Everything a stage is made of.
struct StageParts {
  StageInfo info;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<kernels::Ops> ops;
  std::unique_ptr<models::Decoder> decoder;
};

class DecoderStage final : public Stage {
 public:
  explicit DecoderStage(StageParts parts);

  const StageInfo& info() const override { return parts_.info; }
  std::uint64_t memory_bytes() const override;
  std::optional<std::uint64_t> progress() const override;
  Result<StageOutput> run(const Tick& tick, const Hidden& in) override;

  /// For tests: the cache's own check.
  Status check_integrity() const { return cache_.check_integrity(); }

 private:
  bool first() const { return parts_.info.layers.first == 0; }
  bool last() const { return parts_.info.layers.last == parts_.info.layer_count; }
  Error named(const Error& error) const { return of_layers(parts_.info.layers, error); }
  Result<StageOutput> compute(const Tick& tick, const Hidden& in);
  mx::array forward(const Tick& tick, const Admission& admission, const Hidden& in);
  mx::array received(const Tick& tick, const Admission& admission, const Hidden& in) const;
  TickResult finish(const Tick& tick, const Admission& admission, const Hidden& in);
  void take_logits(TickOutput& output, mx::array hidden);

  StageParts parts_;
  cache::KvCache cache_;
  SequenceStates states_;  // of the last stage
};

}  // namespace tandem::stage
