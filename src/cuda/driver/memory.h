#pragma once
// Memory of a GPU, and of the host where a GPU reaches it directly.

#include <cstddef>
#include <span>
#include <utility>

#include "cuda/driver/device.h"
#include "tandem/error.h"

namespace tandem::cuda {

/// Device memory of a fixed size, not cleared. Move-only; empty when moved from.
class Memory {
 public:
  static Result<Memory> allocate(const Device& device, std::size_t bytes);
  Memory() = default;
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory();

  Address address() const { return address_; }
  std::size_t bytes() const { return bytes_; }
  /// What kernels get.
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(address_);
  }

 private:
  void swap(Memory& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
  }
  const Device* device_ = nullptr;
  Address address_ = 0;
  std::size_t bytes_ = 0;
};

/// Pinned memory of the host: copies from and to it run beside computation. Move-only.
class HostMemory {
 public:
  static Result<HostMemory> allocate(const Device& device, std::size_t bytes);
  HostMemory() = default;
  HostMemory(HostMemory&& other) noexcept { swap(other); }
  HostMemory& operator=(HostMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~HostMemory();

  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(at_), bytes_}; }
  template <class T>
  T* as() const {
    return static_cast<T*>(at_);
  }

 private:
  void swap(HostMemory& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
  }
  const Device* device_ = nullptr;
  void* at_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Device memory that grows in place, so that addresses in it stay valid.
class GrowingMemory {
 public:
  /// Takes addresses for `bytes_most` and no memory.
  static Result<GrowingMemory> reserve(const Device& device, std::size_t bytes_most);
  GrowingMemory() = default;
  GrowingMemory(GrowingMemory&& other) noexcept { swap(other); }
  GrowingMemory& operator=(GrowingMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~GrowingMemory();

  /// At least `bytes` of memory from address() on. kResourceLimit when the device has no more, or
  /// the addresses do not suffice; what was there stays.
  Status grow_to(std::size_t bytes);

  Address address() const { return address_; }
  std::size_t bytes() const { return mapped_; }

 private:
  void swap(GrowingMemory& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(address_, other.address_);
    std::swap(reserved_, other.reserved_);
    std::swap(mapped_, other.mapped_);
    std::swap(unit_, other.unit_);
  }
  Status map(std::size_t bytes);

  const Device* device_ = nullptr;
  Address address_ = 0;
  std::size_t reserved_ = 0;
  std::size_t mapped_ = 0;
  std::size_t unit_ = 0;  // sizes are multiples of it
};

}  // namespace tandem::cuda
