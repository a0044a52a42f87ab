#include "cuda/driver/api.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <string>

namespace tandem::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";
constexpr api::Code kOutOfMemory = 2;

/// Finds the functions of a library; the first that is missing is kept.
class Finder {
 public:
  explicit Finder(void* library) : library_(library) {}

  template <class Function>
  void operator()(const char* name, Function& to) {
    void* found = ::dlsym(library_, name);
    if (found == nullptr && missing_.empty()) missing_ = name;
    to = reinterpret_cast<Function>(found);
  }
  const std::string& missing() const { return missing_; }

 private:
  void* library_;
  std::string missing_;
};

void find_memory(Finder& find, Api& to) {
  find("cuMemGetInfo_v2", to.memory_info);
  find("cuMemAlloc_v2", to.allocate);
  find("cuMemFree_v2", to.free);
  find("cuMemAllocHost_v2", to.allocate_host);
  find("cuMemFreeHost", to.free_host);
  find("cuMemGetAllocationGranularity", to.granularity);
  find("cuMemAddressReserve", to.reserve);
  find("cuMemAddressFree", to.unreserve);
  find("cuMemCreate", to.create);
  find("cuMemRelease", to.release);
  find("cuMemMap", to.map);
  find("cuMemUnmap", to.unmap);
  find("cuMemSetAccess", to.set_access);
  find("cuMemcpyHtoDAsync_v2", to.to_device);
  find("cuMemcpyDtoHAsync_v2", to.to_host);
  find("cuMemcpyDtoDAsync_v2", to.on_device);
  find("cuMemsetD8Async", to.fill);
}

void find_all(Finder& find, Api& to) {
  find("cuGetErrorString", to.error_string);
  find("cuInit", to.init);
  find("cuDeviceGetCount", to.device_count);
  find("cuDeviceGet", to.device_get);
  find("cuDeviceGetName", to.device_name);
  find("cuDeviceGetAttribute", to.device_attribute);
  find("cuDevicePrimaryCtxRetain", to.context_retain);
  find("cuDevicePrimaryCtxRelease_v2", to.context_release);
  find("cuCtxSetCurrent", to.context_set);
  find_memory(find, to);
  find("cuStreamCreate", to.stream_create);
  find("cuStreamDestroy_v2", to.stream_destroy);
  find("cuStreamSynchronize", to.stream_wait);
  find("cuModuleLoadData", to.module_load);
  find("cuModuleUnload", to.module_unload);
  find("cuModuleGetFunction", to.module_function);
  find("cuFuncGetAttribute", to.function_get);
  find("cuFuncSetAttribute", to.function_set);
  find("cuLaunchKernelEx", to.launch);
}

}  // namespace

Result<std::unique_ptr<const Api>> Api::load() {
  // Stays open: the driver's threads run in it until the process ends.
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Error{ErrorCode::kUnavailable,
                 fmt::format("{}: this machine has no NVIDIA driver", kLibrary)};
  }
  auto api = std::make_unique<Api>();
  Finder find(library);
  find_all(find, *api);
  if (!find.missing().empty()) {
    return Error{
        ErrorCode::kUnavailable,
        fmt::format("{}: no {}: a driver of CUDA 12 or newer is needed", kLibrary, find.missing())};
  }
  return std::unique_ptr<const Api>(std::move(api));
}

Status Api::check(api::Code code, const char* what) const {
  if (code == 0) return {};
  const char* text = nullptr;
  if (error_string(code, &text) != 0 || text == nullptr) text = "an unknown error";
  return Error{code == kOutOfMemory ? ErrorCode::kResourceLimit : ErrorCode::kInternal,
               fmt::format("GPU: {}: {} ({})", what, text, code)};
}

}  // namespace tandem::cuda
