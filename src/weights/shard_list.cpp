#include "weights/shard_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "config/json.h"
#include "config/message.h"
#include "config/python_json.h"

namespace tandem::weights {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kPrefix = "model";
constexpr std::string_view kEarlyPrefix = "weights";
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

using Files = std::map<std::string, fs::path>;

/// Adds the file, or what its link leads to.
Status add_file(Files& files, const fs::path& folder, const std::string& name) {
  if (files.contains(name)) return {};
  if (files.size() >= kMaxShards) {
    return Error{ErrorCode::kResourceLimit,
                 fmt::format("{}: more than {} shards", folder.string(), kMaxShards)};
  }
  std::error_code code;
  fs::path path = fs::canonical(folder / name, code);
  if (code) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("{}: {}", (folder / name).string(), code.message())};
  }
  files.emplace(name, std::move(path));
  return {};
}

/// The files that the index names.
Result<std::set<std::string>> read_index(const fs::path& folder) {
  const std::string file = (folder / kIndexName).string();
  auto text = config::read_text_file(folder / kIndexName);
  if (!text.ok()) return text.error();
  auto parsed = config::parse_python_json(*text, file);
  if (!parsed.ok()) return parsed.error();
  const auto fail = [&](std::string rule) {
    return invalid(config::one_line(fmt::format("{}: {}", file, rule)));
  };
  if (!parsed->is_object()) return fail("must be an object");
  const auto map = parsed->find("weight_map");
  if (map == parsed->end() || !map->is_object()) return fail("has no weight_map object");
  std::set<std::string> names;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !plain_shard_name(shard.get_ref<const std::string&>())) {
      return fail(
          fmt::format("weight_map puts \"{}\" into {}, which is not the plain name of a "
                      "{} file in this folder",
                      tensor, config::shown(shard), kSuffix));
    }
    names.insert(shard.get<std::string>());
  }
  return names;
}

/// The names of all safetensors files that begin so.
Result<std::vector<std::string>> scan_folder(const fs::path& folder, std::string_view prefix) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    std::string name = it->path().filename().string();
    if (name.starts_with(prefix) && plain_shard_name(name)) names.push_back(std::move(name));
  }
  if (!code) return names;
  return Error{ErrorCode::kNotFound, fmt::format("{}: {}", folder.string(), code.message())};
}

/// Adds the files that the index names; none when one of them is not there.
Status add_indexed(ShardList& list, const fs::path& folder) {
  const auto names = read_index(folder);
  if (!names.ok()) return names.error();
  std::error_code code;
  const bool whole = std::ranges::all_of(*names, [&](const std::string& name) {
    return fs::exists(fs::symlink_status(folder / name, code));
  });
  if (!whole) return {};
  for (const std::string& name : *names) {
    if (auto status = add_file(list.files, folder, name); !status.ok()) return status;
  }
  return {};
}

Status fill(ShardList& list, const fs::path& folder) {
  std::error_code code;
  const bool indexed = fs::exists(folder / kIndexName, code);
  if (indexed) {
    if (auto status = add_indexed(list, folder); !status.ok()) return status;
  }
  auto names = scan_folder(folder, kPrefix);
  if (!names.ok()) return names.error();
  if (list.files.empty() && std::ranges::find(*names, kSingleName) != names->end()) {
    if (auto status = add_file(list.files, folder, std::string(kSingleName)); !status.ok()) {
      return status;
    }
  }
  if (list.files.empty()) {
    if (names->empty()) names = scan_folder(folder, kEarlyPrefix);
    if (!names.ok()) return names.error();
    for (const std::string& name : *names) {
      if (auto status = add_file(list.files, folder, name); !status.ok()) return status;
    }
    return {};
  }
  if (!indexed) return {};
  for (const std::string& name : *names) {
    // A link that leads nowhere is no file.
    if (!list.files.contains(name)) static_cast<void>(add_file(list.others, folder, name));
  }
  return {};
}

}  // namespace

Result<ShardList> list_shards(const fs::path& folder) {
  std::error_code code;
  const fs::path real = fs::canonical(folder, code);
  if (code || !fs::is_directory(real, code)) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: no such folder", folder.string())};
  }
  ShardList list;
  if (Status status = fill(list, real); !status.ok()) return status.error();
  if (list.files.empty()) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("{}: holds no model*.safetensors", real.string())};
  }
  return list;
}

}  // namespace tandem::weights
