#include "cuda/driver/module.h"

namespace tandem::cuda {

Result<int> Kernel::static_shared_bytes() const {
  const Api& call = device_->api();
  int bytes = 0;
  Status status = call.check(call.function_get(&bytes, api::kStaticSharedBytes, function_),
                             "cuFuncGetAttribute");
  if (!status.ok()) return status.error();
  return bytes;
}

Status Kernel::allow_shared_bytes(int bytes) const {
  const Api& call = device_->api();
  return call.check(call.function_set(function_, api::kDynamicSharedBytesMost, bytes),
                    "cuFuncSetAttribute");
}

Status Kernel::launch(const Grid& grid, Order order, void** args) const {
  api::LaunchAttribute attribute;
  attribute.id = order == Order::kCooperative ? api::LaunchAttribute::kCooperative
                                              : api::LaunchAttribute::kProgrammaticSerialization;
  attribute.value = 1;
  api::LaunchConfig config;
  config.grid[0] = static_cast<unsigned>(grid.x);
  config.grid[1] = static_cast<unsigned>(grid.y);
  config.grid[2] = static_cast<unsigned>(grid.z);
  config.block[0] = static_cast<unsigned>(grid.threads);
  config.shared_bytes = static_cast<unsigned>(grid.shared_bytes);
  config.stream = device_->stream();
  config.attributes = &attribute;
  config.attribute_count = order == Order::kAfter ? 0 : 1;
  return device_->api().check(device_->api().launch(&config, function_, args, nullptr),
                              "cuLaunchKernelEx");
}

Result<Module> Module::load(const Device& device, std::span<const std::byte> cubin) {
  Module module;
  Status status =
      device.api().check(device.api().module_load(&module.module_, cubin.data()), "cuModuleLoad");
  if (!status.ok()) return status.error();
  module.device_ = &device;
  return module;
}

Module::~Module() {
  if (device_ != nullptr) device_->api().module_unload(module_);
}

Result<Kernel> Module::kernel(const char* symbol) const {
  api::Function function = nullptr;
  Status status =
      device_->api().check(device_->api().module_function(&function, module_, symbol), symbol);
  if (!status.ok()) return status.error();
  return Kernel(*device_, function);
}

}  // namespace tandem::cuda
