#pragma once
// Loaded weights that outlive the stage that they were loaded for.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "kernels/ops.h"
#include "models/layer.h"
#include "models/loading/linear.h"
#include "models/loading/weight_reader.h"

namespace tandem::models {

/// A layer, the embedding or the head, or the final norm, ready to multiply.
struct ModelPart {
  std::variant<Layer, Linear, mx::array> weights;
  Footprint footprint;
};
using HeldPart = std::shared_ptr<const ModelPart>;

/// The parts of one model that a process holds, by name ("layer 3"): a new plan loads what is
/// missing and drops what it does not want. Immutable parts are shared with the decoders that use
/// them. One thread at a time.
class WeightStore {
 public:
  /// The model that keep() is asked for next, by its identity; empty: not known, so that nothing
  /// held can be it.
  void choose(std::string model) { model_ = std::move(model); }
  /// Drops all parts but the `wanted` ones, and all when they are of another model or were prepared
  /// for other `settings`. `wanted`: bytes in the folder by name. Counts loaded_bytes() anew.
  void keep(const std::string& settings, const std::map<std::string, std::uint64_t>& wanted);

  /// The part of that name; null: not held.
  HeldPart find(const std::string& name) const;
  /// `stored`: its bytes in the folder.
  void put(const std::string& name, HeldPart part, std::uint64_t stored);

  /// Bytes of weights held.
  std::uint64_t bytes() const;
  /// Bytes in the folder of what was put since keep().
  std::uint64_t loaded_bytes() const { return loaded_; }
  /// One for each device in the life of the process: MLX never frees a stream.
  mx::Stream stream(mx::Device::DeviceType device);

 private:
  std::string model_;
  std::string content_;  // of the parts: model and settings
  std::map<std::string, HeldPart> parts_;
  std::uint64_t loaded_ = 0;
  std::map<mx::Device::DeviceType, mx::Stream> streams_;
};

}  // namespace tandem::models
