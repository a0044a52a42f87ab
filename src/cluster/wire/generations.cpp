#include "cluster/wire/generations.h"

#include <fmt/format.h>

#include <cstddef>
#include <tuple>

#include "cluster/wire/wire_error.h"

namespace tandem::cluster {
namespace {

constexpr std::size_t kMaxVersionBytes = 64;

std::string shown(const Generations& side) {
  return fmt::format("tandem {} (protocol {}, kernels {})",
                     one_line(side.version, kMaxVersionBytes), side.protocol, side.kernels);
}

}  // namespace

Status check_generations(const Generations& worker, const Generations& gateway) {
  const auto theirs = std::tie(worker.protocol, worker.kernels);
  const auto ours = std::tie(gateway.protocol, gateway.kernels);
  if (theirs == ours) return {};
  return invalid(fmt::format("is {}, the gateway is {}: update tandem on the {}'s machine",
                             shown(worker), shown(gateway), theirs < ours ? "worker" : "gateway"));
}

}  // namespace tandem::cluster
