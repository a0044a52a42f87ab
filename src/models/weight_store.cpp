#include "models/weight_store.h"

#include <utility>

namespace tandem::models {

void WeightStore::keep(const std::string& settings,
                       const std::map<std::string, std::uint64_t>& wanted) {
  const std::string content = model_ + " " + settings;
  if (model_.empty() || content != content_) parts_.clear();
  content_ = content;
  std::erase_if(parts_, [&](const auto& part) { return !wanted.contains(part.first); });
  loaded_ = 0;
}

HeldPart WeightStore::find(const std::string& name) const {
  const auto it = parts_.find(name);
  return it == parts_.end() ? nullptr : it->second;
}

void WeightStore::put(const std::string& name, HeldPart part, std::uint64_t stored) {
  parts_[name] = std::move(part);
  loaded_ += stored;
}

std::uint64_t WeightStore::bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [name, part] : parts_) bytes += part->footprint.held;
  return bytes;
}

mx::Stream WeightStore::stream(mx::Device::DeviceType device) {
  const auto it = streams_.find(device);
  if (it != streams_.end()) return it->second;
  return streams_.emplace(device, mx::new_thread_unsafe_stream(mx::Device(device))).first->second;
}

}  // namespace tandem::models
