#include "cluster/rank/worker_place.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <system_error>

#include "base/platform.h"
#include "cluster/rank/control.h"
#include "cluster/rank/process.h"
#include "cluster/rank/worker.h"
#include "cluster/timing.h"
#include "stage/devices.h"
#include "stage/stage.h"
#include "tandem/deadline.h"

namespace tandem::cluster {
namespace {

/// Bytes that the GPU has free, as a child says; 0: it does not.
std::uint64_t free_gpu_memory(const std::string& executable) {
  auto child = ChildProcess::start(executable, {kDeviceCommand}, true);
  if (!child) return 0;
  ControlChannel channel((*child)->control());
  const auto message = channel.receive(after(timing::kDescribe / 2));
  if (!message || message->kind != ControlKind::kDevice) return 0;
  const std::string& text = message->payload;
  std::uint64_t bytes = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  return code == std::errc() && end == text.data() + text.size() ? bytes : 0;
}

bool gpu_runs(const std::string& model) {
  stage::StageOptions options;
  options.folder = model;
  options.gpu = true;
  options.activations = kernels::Activations::kBF16;
  return stage::gpu_runs(options);
}

/// The smaller of two where 0 says nothing.
std::uint64_t least_of(std::uint64_t a, std::uint64_t b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

const char* name_of(bool gpu) { return gpu ? "gpu" : "cpu"; }

Error not_given(bool gpu) {
  return invalid(std::string("this worker computes on the ") + name_of(gpu) + " only: --device " +
                 name_of(gpu));
}

}  // namespace

Result<v1::DescribeReply> describe_place(const WorkerPlace& place,
                                         const v1::DescribeRequest& request,
                                         const std::string& executable) {
  std::optional<bool> wish = place.gpu;
  if (request.device() != v1::DEVICE_KIND_UNSPECIFIED) {
    const bool gpu = request.device() == v1::DEVICE_KIND_GPU;
    if (wish && *wish != gpu) return not_given(*wish);
    wish = gpu;
  }
  const bool runs = wish.value_or(true) && gpu_runs(request.model());
  if (wish.value_or(false) && !runs) return invalid("no GPU of this machine runs this model");
  const bool gpu = runs;
  v1::DescribeReply reply;
  reply.set_device(gpu ? v1::DEVICE_KIND_GPU : v1::DEVICE_KIND_CPU);
  const std::uint64_t free = gpu ? free_gpu_memory(executable) : platform::free_memory_bytes();
  reply.set_memory_bytes(least_of(free, place.memory_bytes));
  reply.set_machine(platform::system_id());
  reply.set_threads(
      static_cast<std::uint32_t>(place.threads != 0 ? place.threads : platform::physical_cores()));
  if (place.rates && !gpu) {
    reply.set_read_rate(place.rates->read);
    reply.set_read_rate_single(place.rates->read_single);
    reply.set_flops(place.rates->flops);
  }
  return reply;
}

Status keep_to(const WorkerPlace& place, v1::LoadRequest& request) {
  if (place.gpu && *place.gpu != request.gpu()) return not_given(*place.gpu);
  request.set_memory_bytes(least_of(request.memory_bytes(), place.memory_bytes));
  if (place.threads != 0) {
    const int wanted = request.threads();
    request.set_threads(wanted == 0 ? place.threads : std::min(wanted, place.threads));
  }
  return {};
}

int run_device_child() {
  platform::die_with_parent();
  ControlChannel parent(kControlFd);
  const std::string bytes = std::to_string(stage::free_memory(true));
  return parent.send(ControlKind::kDevice, bytes, after(timing::kControl)) ? 0 : 1;
}

}  // namespace tandem::cluster
