#pragma once
// What this program uses of NVIDIA's driver API, declared here so that no toolkit is needed to
// build it, and found at run time in the library that the driver brings. Source: the CUDA driver
// API reference and cuda.h of CUDA 13.0.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tandem/error.h"

namespace tandem::cuda {

using Address = std::uint64_t;  // of device memory: CUdeviceptr

namespace api {

using Code = int;  // CUresult; 0: success
struct ContextType;
struct ModuleType;
struct FunctionType;
struct StreamType;
using Context = ContextType*;
using Module = ModuleType*;
using Function = FunctionType*;
using Stream = StreamType*;
using Handle = unsigned long long;  // of physical memory

/// CUlaunchAttribute.
struct LaunchAttribute {
  enum Id : std::int32_t { kCooperative = 2, kProgrammaticSerialization = 6 };
  std::int32_t id = 0;
  char pad[4] = {};
  std::int32_t value = 0;  // the first of a union of 64 bytes
  char rest[60] = {};
};
/// CUlaunchConfig.
struct LaunchConfig {
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  unsigned shared_bytes = 0;
  Stream stream = nullptr;
  LaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};
/// CUmemLocation.
struct Location {
  std::int32_t type = 1;  // a device
  std::int32_t id = 0;
};
/// CUmemAllocationProp.
struct AllocationProperties {
  std::int32_t type = 1;  // pinned
  std::int32_t handle_types = 0;
  Location location;
  void* unused = nullptr;
  unsigned char flags[8] = {};
};
/// CUmemAccessDesc.
struct Access {
  Location location;
  std::int32_t flags = 3;  // read and write
};

enum DeviceAttribute : std::int32_t {
  kMultiprocessors = 16,
  kCapabilityMajor = 75,
  kCapabilityMinor = 76,
  kSharedBytesMost = 97,  // of a block that asks for it
};
enum FunctionAttribute : std::int32_t { kStaticSharedBytes = 1, kDynamicSharedBytesMost = 8 };

}  // namespace api

/// Any thread may call what is behind these pointers.
struct Api {
  api::Code (*error_string)(api::Code, const char**) = nullptr;
  api::Code (*init)(unsigned) = nullptr;
  api::Code (*device_count)(int*) = nullptr;
  api::Code (*device_get)(int*, int) = nullptr;
  api::Code (*device_name)(char*, int, int) = nullptr;
  api::Code (*device_attribute)(int*, api::DeviceAttribute, int) = nullptr;
  api::Code (*context_retain)(api::Context*, int) = nullptr;
  api::Code (*context_release)(int) = nullptr;
  api::Code (*context_set)(api::Context) = nullptr;
  api::Code (*memory_info)(std::size_t*, std::size_t*) = nullptr;
  api::Code (*allocate)(Address*, std::size_t) = nullptr;
  api::Code (*free)(Address) = nullptr;
  api::Code (*allocate_host)(void**, std::size_t) = nullptr;
  api::Code (*free_host)(void*) = nullptr;
  api::Code (*granularity)(std::size_t*, const api::AllocationProperties*, int) = nullptr;
  api::Code (*reserve)(Address*, std::size_t, std::size_t, Address, unsigned long long) = nullptr;
  api::Code (*unreserve)(Address, std::size_t) = nullptr;
  api::Code (*create)(api::Handle*, std::size_t, const api::AllocationProperties*,
                      unsigned long long) = nullptr;
  api::Code (*release)(api::Handle) = nullptr;
  api::Code (*map)(Address, std::size_t, std::size_t, api::Handle, unsigned long long) = nullptr;
  api::Code (*unmap)(Address, std::size_t) = nullptr;
  api::Code (*set_access)(Address, std::size_t, const api::Access*, std::size_t) = nullptr;
  api::Code (*to_device)(Address, const void*, std::size_t, api::Stream) = nullptr;
  api::Code (*to_host)(void*, Address, std::size_t, api::Stream) = nullptr;
  api::Code (*on_device)(Address, Address, std::size_t, api::Stream) = nullptr;
  api::Code (*fill)(Address, unsigned char, std::size_t, api::Stream) = nullptr;
  api::Code (*stream_create)(api::Stream*, unsigned) = nullptr;
  api::Code (*stream_destroy)(api::Stream) = nullptr;
  api::Code (*stream_wait)(api::Stream) = nullptr;
  api::Code (*module_load)(api::Module*, const void*) = nullptr;
  api::Code (*module_unload)(api::Module) = nullptr;
  api::Code (*module_function)(api::Function*, api::Module, const char*) = nullptr;
  api::Code (*function_get)(int*, api::FunctionAttribute, api::Function) = nullptr;
  api::Code (*function_set)(api::Function, api::FunctionAttribute, int) = nullptr;
  api::Code (*launch)(const api::LaunchConfig*, api::Function, void**, void**) = nullptr;

  /// kUnavailable where this machine has no NVIDIA driver.
  static Result<std::unique_ptr<const Api>> load();
  /// An error of `what` for a code that is not 0: kResourceLimit where memory ran out.
  Status check(api::Code code, const char* what) const;
};

}  // namespace tandem::cuda
