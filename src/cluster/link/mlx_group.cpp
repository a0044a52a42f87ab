#include "cluster/link/mlx_group.h"

#include <mlx/allocator.h>
#include <mlx/array.h>
#include <mlx/distributed/distributed.h>
#include <mlx/distributed/ops.h>
#include <mlx/transforms.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "cluster/wire/wire_error.h"

namespace tandem::cluster {
namespace {

namespace mx = mlx::core;
namespace fs = std::filesystem;

Error from_mlx(const MlxGroupOptions& options, const std::exception& what) {
  return {ErrorCode::kUnavailable,
          "mlx group (" + options.backend + "): " + one_line(what.what(), kMaxReasonBytes)};
}

// A file that goes when its guard does.
struct TemporaryFile {
  std::string path;
  ~TemporaryFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

Result<std::shared_ptr<TemporaryFile>> write_temporary(const std::string& contents) {
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);
  if (error) return Error{ErrorCode::kInternal, "no folder for temporary files"};
  auto file = std::make_shared<TemporaryFile>();
  std::string path = (folder / "tandem-hosts-XXXXXX").string();
  const int descriptor = ::mkstemp(path.data());  // readable by this user only
  if (descriptor < 0) return Error{ErrorCode::kInternal, path + ": cannot be made"};
  file->path = path;
  const auto written = ::write(descriptor, contents.data(), contents.size());
  ::close(descriptor);
  if (written != static_cast<ssize_t>(contents.size())) {
    return Error{ErrorCode::kInternal, path + ": cannot be written"};
  }
  return file;
}

class Group final : public MlxGroup {
 public:
  Group(MlxGroupOptions options, mx::distributed::Group group)
      : options_(std::move(options)), group_(std::move(group)) {}
  // MLX keeps a reference of its own: without this the sockets stay open, and the next group of the
  // process would be this one again.
  ~Group() override { mx::distributed::clear_backends(); }

  Status all_gather(std::size_t bytes, const std::function<void(std::span<std::byte>)>& fill,
                    const std::function<void(std::span<const std::byte>)>& read) override {
    try {
      mx::array slot(mx::allocator::malloc(bytes), {static_cast<int>(bytes)}, mx::uint8);
      fill({reinterpret_cast<std::byte*>(slot.data<std::uint8_t>()), bytes});
      mx::array slots = mx::distributed::all_gather(slot, group_);
      slots.eval();
      read({reinterpret_cast<const std::byte*>(slots.data<std::uint8_t>()), slots.nbytes()});
    } catch (const std::exception& what) {
      return from_mlx(options_, what);
    }
    return {};
  }

 private:
  MlxGroupOptions options_;
  mx::distributed::Group group_;
};

}  // namespace

std::string ring_hostfile(std::span<const std::string> addresses) {
  auto hosts = nlohmann::json::array();
  for (const std::string& address : addresses) hosts.push_back(nlohmann::json::array({address}));
  return hosts.dump();
}

Result<std::shared_ptr<void>> set_mlx_environment(const MlxGroupOptions& options) {
  std::shared_ptr<TemporaryFile> file;
  if (!options.hostfile.empty()) {
    auto written = write_temporary(options.hostfile);
    if (!written) return written.error();
    file = std::move(*written);
    ::setenv("MLX_HOSTFILE", file->path.c_str(), 1);
  }
  ::setenv("MLX_RANK", std::to_string(options.group_rank).c_str(), 1);
  ::setenv("MLX_WORLD_SIZE", std::to_string(options.size).c_str(), 1);
  return std::shared_ptr<void>(std::move(file));
}

Result<std::unique_ptr<MlxGroup>> MlxGroup::join(const MlxGroupOptions& options) {
  const std::string name = "mlx group (" + options.backend + "): ";
  try {
    if (options.backend != "any" && !mx::distributed::is_available(options.backend)) {
      return invalid(name + "this MLX has no such backend");
    }
    auto group = mx::distributed::init(true, options.backend);
    if (group.rank() != options.group_rank || group.size() != options.size) {
      return invalid(name + "joined as " + std::to_string(group.rank()) + " of " +
                     std::to_string(group.size()) + ", wanted " +
                     std::to_string(options.group_rank) + " of " + std::to_string(options.size));
    }
    return std::unique_ptr<MlxGroup>(std::make_unique<Group>(options, std::move(group)));
  } catch (const std::exception& what) {
    return from_mlx(options, what);
  }
}

}  // namespace tandem::cluster
