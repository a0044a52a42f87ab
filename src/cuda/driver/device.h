#pragma once
// One GPU: its primary context, which it shares with whatever else of the process uses CUDA, and a
// stream on it.

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "cuda/driver/api.h"
#include "tandem/error.h"

namespace tandem::cuda {

/// One thread at a time uses it, and calls use() first where another may have been there. It
/// outlives memory and modules on it.
class Device {
 public:
  /// The machine's first GPU (CUDA_VISIBLE_DEVICES, which the driver reads, says which that is).
  /// kUnavailable where there is none.
  static Result<std::unique_ptr<Device>> open();
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const { return name_; }
  /// Compute capability, 90 for 9.0.
  int capability() const { return capability_; }
  int multiprocessors() const { return multiprocessors_; }
  /// Bytes of shared memory that a block may ask for.
  int shared_bytes_most() const { return shared_bytes_most_; }
  Result<std::size_t> free_memory() const;

  /// Makes it the calling thread's device.
  Status use() const;
  /// These are queued on the device's stream. Host memory stays as it is until wait().
  Status copy_to_device(Address to, std::span<const std::byte> from) const;
  Status copy_to_host(std::span<std::byte> to, Address from) const;
  Status copy(Address to, Address from, std::size_t bytes) const;
  Status fill(Address to, unsigned char value, std::size_t bytes) const;
  /// Until all that was queued is done; says what failed since.
  Status wait() const;

  const Api& api() const { return *api_; }
  api::Stream stream() const { return stream_; }
  int number() const { return device_; }

 private:
  explicit Device(std::unique_ptr<const Api> api) : api_(std::move(api)) {}
  Status describe();
  Status begin();

  std::unique_ptr<const Api> api_;
  int device_ = 0;
  bool retained_ = false;
  api::Context context_ = nullptr;
  api::Stream stream_ = nullptr;
  std::string name_;
  int capability_ = 0;
  int multiprocessors_ = 0;
  int shared_bytes_most_ = 0;
};

}  // namespace tandem::cuda
