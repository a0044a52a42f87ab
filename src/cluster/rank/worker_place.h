#pragma once
// What a machine's owner lets a rank have, and what the machine has.

#include <cstdint>
#include <optional>
#include <string>

#include "stage/machine_rates.h"
#include "tandem.pb.h"
#include "tandem/error.h"

namespace tandem::cluster {

/// The owner's limits: flags of `tandem worker`.
struct WorkerPlace {
  std::optional<bool> gpu;         // absent: the GPU where MLX has one
  std::uint64_t memory_bytes = 0;  // most for weights, steps and KV; 0: what the device has free
  int threads = 0;                 // 0: as many as the gateway says
  /// What was measured of the CPU; absent: nothing.
  std::optional<stage::MachineRates> rates = {};
};

/// argv that makes this binary say what its GPU has free and end: `tandem kDeviceCommand`. A
/// process of its own, because asking CUDA takes some hundred MB of the GPU until the process ends.
inline constexpr const char* kDeviceCommand = "device-child";

/// What a rank of the model can have on this machine now, on the device that the request wants or,
/// without a wish, on the GPU if it runs the model. kInvalidArgument: a device that the owner does
/// not give, or a GPU that does not run the model.
Result<v1::DescribeReply> describe_place(const WorkerPlace& place,
                                         const v1::DescribeRequest& request,
                                         const std::string& executable);
/// Puts the owner's limits into the request; kInvalidArgument when they exclude what it asks for.
/// Pure.
Status keep_to(const WorkerPlace& place, v1::LoadRequest& request);

/// The life of the child that kDeviceCommand starts; the return value is its exit code.
int run_device_child();

}  // namespace tandem::cluster
