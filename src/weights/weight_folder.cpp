#include "weights/weight_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <utility>

#include "config/message.h"
#include "weights/mapped_file.h"
#include "weights/shard_list.h"

namespace tandem::weights {
namespace {

Result<SafetensorsHeader> read_header(const MappedFile& file) {
  std::array<std::byte, 8> prefix{};
  if (file.size() < prefix.size()) {
    return header_length({}, file.size(), file.name()).error();
  }
  if (auto status = file.read(0, prefix); !status.ok()) return status.error();
  const auto length = header_length(prefix, file.size(), file.name());
  if (!length.ok()) return length.error();
  std::vector<std::byte> json(static_cast<std::size_t>(*length));
  if (auto status = file.read(prefix.size(), json); !status.ok()) return status.error();
  return parse_header(json, file.size(), file.name());
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : shape) {
    sizes.push_back(size < 0 ? "any" : std::to_string(size));
  }
  return fmt::format("[{}]", fmt::join(sizes, ", "));
}

bool fits(std::span<const std::int64_t> wanted, std::span<const std::int64_t> actual) {
  if (wanted.size() != actual.size()) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] >= 0 && wanted[i] != actual[i]) return false;
  }
  return true;
}

}  // namespace

/// Not open between uses: a big model has more shards than a process may open files (256 on macOS).
struct WeightFolder::Shard {
  std::string name;  // in the folder
  std::filesystem::path path;
  std::string shown;  // in messages
  FileIdentity identity;
};

WeightFolder::WeightFolder() = default;
WeightFolder::~WeightFolder() = default;
WeightFolder::WeightFolder(WeightFolder&&) noexcept = default;
WeightFolder& WeightFolder::operator=(WeightFolder&&) noexcept = default;

Result<WeightFolder> WeightFolder::open(const std::filesystem::path& folder, Alignment alignment) {
  const auto list = list_shards(folder);
  if (!list.ok()) return list.error();
  WeightFolder weights;
  weights.folder_ = folder;
  weights.alignment_ = alignment;
  for (const auto& [name, path] : list->files) {
    if (auto status = weights.add_shard(name, path); !status.ok()) return status.error();
  }
  for (const auto& [name, path] : list->others) {
    // One that is broken fills no gap: what is missing then is named when it is taken.
    WeightFolder other;
    other.folder_ = folder;
    if (!other.add_shard(name, path).ok()) continue;
    for (auto& [tensor, entry] : other.entries_) {
      entry.shard = weights.shards_.size();
      entry.used = true;  // nobody needs to want it
      weights.entries_.try_emplace(tensor, std::move(entry));
    }
    weights.shards_.push_back(std::move(other.shards_.front()));
  }
  if (weights.entries_.empty()) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: holds no tensors", folder.string())};
  }
  return weights;
}

Status WeightFolder::add_shard(const std::string& name, const std::filesystem::path& path) {
  auto file = MappedFile::open(path, (folder_ / name).string());
  if (!file.ok()) return file.error();
  auto header = read_header(*file);
  if (!header.ok()) return header.error();
  for (TensorInfo& info : header->tensors) {
    std::string key = info.name;
    Entry entry{std::move(info), shards_.size(), false};
    const auto [it, added] = entries_.try_emplace(std::move(key), std::move(entry));
    if (!added) {
      return wrong(it->first,
                   fmt::format("is in both {} and {}", shards_[it->second.shard]->name, name));
    }
  }
  shards_.push_back(std::make_unique<Shard>(Shard{name, path, file->name(), file->identity()}));
  return {};
}

Error WeightFolder::wrong(std::string_view name, std::string_view rule) const {
  return invalid(
      config::one_line(fmt::format("{}: tensor \"{}\" {}", folder_.string(), name, rule)));
}

bool WeightFolder::has(std::string_view name) const { return entries_.contains(name); }

const TensorInfo* WeightFolder::find(std::string_view name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second.info;
}

std::vector<std::string> WeightFolder::names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::uint64_t WeightFolder::total_bytes() const {
  std::uint64_t total = 0;
  for (const auto& [name, entry] : entries_) total += entry.info.end - entry.info.begin;
  return total;
}

Result<Tensor> WeightFolder::take(std::string_view name) {
  const auto it = entries_.find(name);
  if (it == entries_.end()) return wrong(name, "is missing");
  Entry& entry = it->second;
  const std::size_t alignment = alignment_ == Alignment::kAny ? 1 : size_of(entry.info.dtype);
  const Shard& shard = *shards_[entry.shard];
  const auto file = MappedFile::reopen(shard.path, shard.shown, shard.identity);
  if (!file.ok()) return file.error();
  auto range = file->range(entry.info.begin, entry.info.end, alignment);
  if (!range.ok()) return range.error();
  entry.used = true;
  return Tensor{entry.info.dtype, entry.info.shape, range->bytes, std::move(range->keep)};
}

Result<Tensor> WeightFolder::take(std::string_view name, std::span<const std::int64_t> shape) {
  const TensorInfo* info = find(name);
  if (info != nullptr && !fits(shape, info->shape)) {
    return wrong(name, fmt::format("must have the shape {}, not {}", shape_text(shape),
                                   shape_text(info->shape)));
  }
  return take(name);
}

void WeightFolder::skip(std::string_view name) {
  if (const auto it = entries_.find(name); it != entries_.end()) it->second.used = true;
}

std::vector<std::string> WeightFolder::unused() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) {
    if (!entry.used) names.push_back(name);
  }
  return names;
}

}  // namespace tandem::weights
