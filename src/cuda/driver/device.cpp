#include "cuda/driver/device.h"

#include <array>

namespace tandem::cuda {

Result<std::unique_ptr<Device>> Device::open() {
  auto api = Api::load();
  if (!api.ok()) return api.error();
  std::unique_ptr<Device> device(new Device(*std::move(api)));
  int count = 0;
  const Api& call = device->api();
  if (call.init(0) != 0 || call.device_count(&count) != 0 || count == 0) {
    return Error{ErrorCode::kUnavailable, "GPU: the driver finds none on this machine"};
  }
  if (Status status = device->describe(); !status.ok()) return status.error();
  if (Status status = device->begin(); !status.ok()) return status.error();
  return device;
}

Status Device::describe() {
  if (Status status = api_->check(api_->device_get(&device_, 0), "cuDeviceGet"); !status.ok()) {
    return status;
  }
  std::array<char, 128> name{};
  if (Status status =
          api_->check(api_->device_name(name.data(), static_cast<int>(name.size()) - 1, device_),
                      "cuDeviceGetName");
      !status.ok()) {
    return status;
  }
  name_ = name.data();
  int major = 0;
  int minor = 0;
  const std::pair<api::DeviceAttribute, int*> wanted[] = {
      {api::kCapabilityMajor, &major},
      {api::kCapabilityMinor, &minor},
      {api::kMultiprocessors, &multiprocessors_},
      {api::kSharedBytesMost, &shared_bytes_most_}};
  for (const auto& [attribute, to] : wanted) {
    Status status =
        api_->check(api_->device_attribute(to, attribute, device_), "cuDeviceGetAttribute");
    if (!status.ok()) return status;
  }
  capability_ = major * 10 + minor;
  return {};
}

Status Device::begin() {
  Status status = api_->check(api_->context_retain(&context_, device_), "cuDevicePrimaryCtxRetain");
  if (!status.ok()) return status;
  retained_ = true;
  if (status = use(); !status.ok()) return status;
  constexpr unsigned kNonBlocking = 1;  // does not wait for the default stream
  return api_->check(api_->stream_create(&stream_, kNonBlocking), "cuStreamCreate");
}

Device::~Device() {
  if (!retained_) return;
  // Nothing is left to be done about what fails here.
  api_->context_set(context_);
  if (stream_ != nullptr) api_->stream_destroy(stream_);
  api_->context_release(device_);
}

Status Device::use() const { return api_->check(api_->context_set(context_), "cuCtxSetCurrent"); }

Result<std::size_t> Device::free_memory() const {
  std::size_t free = 0;
  std::size_t total = 0;
  Status status = api_->check(api_->memory_info(&free, &total), "cuMemGetInfo");
  if (!status.ok()) return status.error();
  return free;
}

Status Device::copy_to_device(Address to, std::span<const std::byte> from) const {
  return api_->check(api_->to_device(to, from.data(), from.size(), stream_), "copy to the device");
}

Status Device::copy_to_host(std::span<std::byte> to, Address from) const {
  return api_->check(api_->to_host(to.data(), from, to.size(), stream_), "copy to the host");
}

Status Device::copy(Address to, Address from, std::size_t bytes) const {
  return api_->check(api_->on_device(to, from, bytes, stream_), "copy");
}

Status Device::fill(Address to, unsigned char value, std::size_t bytes) const {
  return api_->check(api_->fill(to, value, bytes, stream_), "fill");
}

Status Device::wait() const { return api_->check(api_->stream_wait(stream_), "computation"); }

}  // namespace tandem::cuda
