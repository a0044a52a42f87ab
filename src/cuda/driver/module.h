#pragma once
// Compiled kernels on a GPU, and how one is launched.

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "cuda/driver/device.h"
#include "tandem/error.h"

namespace tandem::cuda {

/// How a launch goes with the kernel before it on the stream.
enum class Order {
  kAfter,        // begins when it has ended
  kDependent,    // may begin before and waits by itself: see wait_for_predecessor()
  kCooperative,  // after it, with all blocks at once: they meet at barriers
};

struct Grid {
  int x = 1;
  int y = 1;
  int z = 1;
  int threads = 1;
  int shared_bytes = 0;  // dynamic
};

/// A function of a module, which outlives it.
class Kernel {
 public:
  Kernel() = default;
  Kernel(const Device& device, api::Function function) : device_(&device), function_(function) {}

  /// Bytes of shared memory that a block of it takes beside what a launch gives it.
  Result<int> static_shared_bytes() const;
  /// Before the first launch with more than 48 KB.
  Status allow_shared_bytes(int bytes) const;
  /// Queues it. `args` are the kernel's parameters, bit for bit.
  template <class... Args>
  Status operator()(const Grid& grid, Order order, const Args&... args) const {
    static_assert((std::is_trivially_copyable_v<Args> && ...));
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&args))...};
    return launch(grid, order, pointers);
  }

 private:
  Status launch(const Grid& grid, Order order, void** args) const;

  const Device* device_ = nullptr;
  api::Function function_ = nullptr;
};

/// Move-only.
class Module {
 public:
  /// A cubin for the device's architecture.
  static Result<Module> load(const Device& device, std::span<const std::byte> cubin);
  Module() = default;
  Module(Module&& other) noexcept { swap(other); }
  Module& operator=(Module&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Module();

  Result<Kernel> kernel(const char* symbol) const;

 private:
  void swap(Module& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(module_, other.module_);
  }
  const Device* device_ = nullptr;
  api::Module module_ = nullptr;
};

}  // namespace tandem::cuda
