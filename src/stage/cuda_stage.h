#pragma once
// The stage that runs its layers by the kernels of src/cuda, without MLX.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "cache/kv_cache.h"
#include "cuda/executor/executor.h"
#include "models/decoder.h"
#include "stage/admission.h"
#include "stage/sequence_states.h"
#include "stage/stage.h"
#include "stage/tick_output.h"

namespace tandem::stage {

class CudaStage final : public Stage {
 public:
  struct Parts {
    StageInfo info;
    cache::LayerKv kv;  // of every layer
    std::unique_ptr<ThreadPool> pool;
    std::unique_ptr<cuda::Executor> executor;
  };
  explicit CudaStage(Parts parts);

  const StageInfo& info() const override { return parts_.info; }
  std::uint64_t memory_bytes() const override;
  Result<StageOutput> run(const Tick& tick, const Hidden& in) override;

 private:
  bool first() const { return parts_.info.layers.first == 0; }
  bool last() const { return parts_.info.layers.last == parts_.info.layer_count; }
  Error named(const Error& error) const { return of_layers(parts_.info.layers, error); }
  Status forward(const Tick& tick, const Admission& admission, const Hidden& in);
  std::vector<std::byte> received(const Tick& tick, const Admission& admission,
                                  const Hidden& in) const;
  Result<Hidden> hidden(const Admission& admission);
  Result<TickResult> finish(const Tick& tick, const Admission& admission, const Hidden& in);
  Status take_logits(TickOutput& output);

  Parts parts_;
  cache::KvCache cache_;
  SequenceStates states_;  // of the last stage
};

/// kUnavailable, with the reason, where this machine has no such GPU or the kernels are not for
/// this model or these options.
Result<std::unique_ptr<Stage>> load_cuda_stage(const StageOptions& options,
                                               const models::LoadProgress& progress);

/// That reason; "": there is none. Reads no weights.
std::string why_no_cuda_stage(const StageOptions& options);

}  // namespace tandem::stage
