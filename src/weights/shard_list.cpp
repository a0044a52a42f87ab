#include "weights/shard_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "config/json.h"
#include "config/message.h"

namespace tandem::weights {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kSuffix = ".safetensors";
/// Most shards of one model; the largest published ones have a few hundred.
constexpr std::size_t kMaxShards = 4096;

/// A name and nothing more: no folder, no "..", no control characters, the usual ending.
bool plain_shard_name(std::string_view name) {
  const bool clean = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c >= 0x20 && c != 0x7f && c != '/' && c != '\\';
  });
  return clean && name.size() > kSuffix.size() && name.ends_with(kSuffix) && name.size() <= 255;
}

bool inside(const fs::path& folder, const fs::path& file) {
  const auto [end, unused] = std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  return end == folder.end();
}

/// models--ORG--NAME/blobs when `folder` is models--ORG--NAME/snapshots/REVISION; else empty.
fs::path cache_blobs(const fs::path& folder) {
  const fs::path snapshots = folder.parent_path();
  const fs::path repository = snapshots.parent_path();
  const bool cache =
      snapshots.filename() == "snapshots" && repository.filename().string().starts_with("models--");
  return cache ? repository / "blobs" : fs::path();
}

/// Where the shard really lies. `folder` is canonical.
Result<fs::path> resolve(const fs::path& folder, const std::string& name) {
  std::error_code code;
  fs::path real = fs::canonical(folder / name, code);
  if (code) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("{}: {}", (folder / name).string(), code.message())};
  }
  const fs::path blobs = cache_blobs(folder);
  if (inside(folder, real) || (!blobs.empty() && inside(blobs, real))) return real;
  return invalid(
      fmt::format("{}: is a symlink that leads out of the model folder", (folder / name).string()));
}

Status add_file(ShardList& list, const fs::path& folder, const std::string& name) {
  if (list.files.contains(name)) return {};
  if (list.files.size() >= kMaxShards) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("{}: more than {} shards", folder.string(), kMaxShards)};
  }
  auto path = resolve(folder, name);
  if (!path.ok()) return path.error();
  list.files.emplace(name, std::move(*path));
  return {};
}

Status read_index(ShardList& list, const fs::path& folder) {
  const std::string file = (folder / kIndexName).string();
  auto text = config::read_text_file(folder / kIndexName);
  if (!text.ok()) return text.error();
  auto parsed = config::parse_json(*text, file);
  if (!parsed.ok()) return parsed.error();
  const auto fail = [&](std::string rule) {
    return invalid(config::one_line(fmt::format("{}: {}", file, rule)));
  };
  if (!parsed->is_object()) return fail("must be an object");
  const auto map = parsed->find("weight_map");
  if (map == parsed->end() || !map->is_object()) return fail("has no weight_map object");
  if (map->empty()) return fail("weight_map names no tensor");
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !plain_shard_name(shard.get_ref<const std::string&>())) {
      return fail(
          fmt::format("weight_map puts \"{}\" into {}, which is not the plain name of a "
                      "{} file in this folder",
                      tensor, config::shown(shard), kSuffix));
    }
    const auto& name = shard.get_ref<const std::string&>();
    std::error_code code;
    if (!fs::exists(fs::symlink_status(folder / name, code))) {
      return Error{ErrorCode::kNotFound,
                   config::one_line(fmt::format(
                       "{}: names the shard {}, which is not in the folder", file, name))};
    }
    if (auto status = add_file(list, folder, name); !status.ok()) return status;
    list.index.emplace(tensor, name);
  }
  return {};
}

Status scan_folder(ShardList& list, const fs::path& folder) {
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with("model") || !plain_shard_name(name)) continue;
    if (auto status = add_file(list, folder, name); !status.ok()) return status;
  }
  if (code) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: {}", folder.string(), code.message())};
  }
  if (!list.files.empty()) return {};
  return Error{ErrorCode::kNotFound,
               fmt::format("{}: holds no model*.safetensors", folder.string())};
}

}  // namespace

Result<ShardList> list_shards(const fs::path& folder) {
  std::error_code code;
  const fs::path real = fs::canonical(folder, code);
  if (code || !fs::is_directory(real, code)) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: no such folder", folder.string())};
  }
  ShardList list;
  Status status;
  if (fs::exists(real / kIndexName, code)) {
    status = read_index(list, real);
  } else if (fs::exists(real / kSingleName, code)) {
    status = add_file(list, real, std::string(kSingleName));
  } else {
    status = scan_folder(list, real);
  }
  if (!status.ok()) return status.error();
  return list;
}

}  // namespace tandem::weights
