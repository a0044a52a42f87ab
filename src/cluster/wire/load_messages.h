#pragma once
// Stage options, stage facts and counters as protobuf messages, checked on the way in.

#include "stage/stage.h"
#include "tandem.pb.h"
#include "tandem/error.h"
#include "tandem/rank_info.h"

namespace tandem::cluster {

/// Fills model, layers, gpu, mlx_kernels, activations, isa, kv_bits, threads, memory_bytes and
/// kv_bytes_max.
void put(const stage::StageOptions& options, v1::LoadRequest& out);
/// The message names the field that is wrong.
Result<stage::StageOptions> take_options(const v1::LoadRequest& in);

void put(const StageInfo& info, v1::StageInfo& out);
/// A worker's word about its stage, checked: ranges inside the model, positive sizes.
Result<StageInfo> take_info(const v1::StageInfo& in);

void put(const RankWork& work, v1::RankWork& out);
RankWork take_work(const v1::RankWork& in);

}  // namespace tandem::cluster
