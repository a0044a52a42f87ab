#include "cuda/driver/memory.h"

#include <fmt/format.h>

#include <algorithm>

namespace tandem::cuda {
namespace {

/// At a time, so that a long context is a few hundred mappings and not tens of thousands.
constexpr std::size_t kGrowth = std::size_t{64} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

api::AllocationProperties properties_of(const Device& device) {
  api::AllocationProperties properties;
  properties.location.id = device.number();
  return properties;
}

}  // namespace

Result<Memory> Memory::allocate(const Device& device, std::size_t bytes) {
  Memory memory;
  Status status = device.api().check(
      device.api().allocate(&memory.address_, std::max<std::size_t>(bytes, 1)), "cuMemAlloc");
  if (!status.ok()) return status.error();
  memory.device_ = &device;
  memory.bytes_ = bytes;
  return memory;
}

Memory::~Memory() {
  if (device_ != nullptr) device_->api().free(address_);
}

Result<HostMemory> HostMemory::allocate(const Device& device, std::size_t bytes) {
  HostMemory memory;
  Status status = device.api().check(
      device.api().allocate_host(&memory.at_, std::max<std::size_t>(bytes, 1)), "cuMemAllocHost");
  if (!status.ok()) return status.error();
  memory.device_ = &device;
  memory.bytes_ = bytes;
  return memory;
}

HostMemory::~HostMemory() {
  if (device_ != nullptr) device_->api().free_host(at_);
}

Result<GrowingMemory> GrowingMemory::reserve(const Device& device, std::size_t bytes_most) {
  const Api& call = device.api();
  const api::AllocationProperties properties = properties_of(device);
  std::size_t unit = 0;
  constexpr int kMinimum = 0;
  Status status =
      call.check(call.granularity(&unit, &properties, kMinimum), "cuMemGetAllocationGranularity");
  if (!status.ok()) return status.error();
  GrowingMemory memory;
  memory.unit_ = round_up(kGrowth, unit);
  const std::size_t reserved = round_up(std::max<std::size_t>(bytes_most, 1), memory.unit_);
  status = call.check(call.reserve(&memory.address_, reserved, 0, 0, 0), "cuMemAddressReserve");
  if (!status.ok()) return status.error();
  memory.device_ = &device;
  memory.reserved_ = reserved;
  return memory;
}

GrowingMemory::~GrowingMemory() {
  if (device_ == nullptr) return;
  for (std::size_t at = 0; at < mapped_; at += unit_) device_->api().unmap(address_ + at, unit_);
  device_->api().unreserve(address_, reserved_);
}

Status GrowingMemory::grow_to(std::size_t bytes) {
  if (bytes > reserved_) {
    return Error{
        ErrorCode::kResourceLimit,
        fmt::format("GPU: {} bytes do not fit the {} that were reserved", bytes, reserved_)};
  }
  while (mapped_ < bytes) {
    if (Status status = map(unit_); !status.ok()) return status;
  }
  return {};
}

Status GrowingMemory::map(std::size_t bytes) {
  const Api& call = device_->api();
  const api::AllocationProperties properties = properties_of(*device_);
  api::Handle handle = 0;
  Status status = call.check(call.create(&handle, bytes, &properties, 0), "cuMemCreate");
  if (!status.ok()) return status;
  const Address at = address_ + mapped_;
  status = call.check(call.map(at, bytes, 0, handle, 0), "cuMemMap");
  call.release(handle);  // the mapping holds it
  if (!status.ok()) return status;
  const api::Access access{properties.location, 3};
  status = call.check(call.set_access(at, bytes, &access, 1), "cuMemSetAccess");
  if (!status.ok()) {
    call.unmap(at, bytes);
    return status;
  }
  mapped_ += bytes;
  return {};
}

}  // namespace tandem::cuda
