#pragma once
// Joining an MLX group, and its all_gather: the only places where MLX's communication is called.

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "tandem/error.h"

namespace tandem::cluster {

struct MlxGroupOptions {
  std::string backend = "ring";  // "ring", "mpi", "nccl", "jaccl", or "any"
  int group_rank = 0;            // 0: the gateway, i + 1: stage i
  int size = 2;                  // stages + 1
  std::string hostfile;          // contents for MLX_HOSTFILE (see ring_hostfile); empty: not set
};

/// The ring backend's host file: one "ip:port" a rank, the gateway's first. IP addresses, not
/// names.
std::string ring_hostfile(std::span<const std::string> addresses);

/// Puts the options where MLX looks for them: its backends take their set-up from environment
/// variables and nothing else. The one place in the program that writes the environment after
/// start: the host file is known only when all ranks have loaded. gRPC's threads run by then; they
/// read the environment when gRPC starts and not again. The host file is written to a temporary
/// file of this user, which lives as long as the returned guard.
Result<std::shared_ptr<void>> set_mlx_environment(const MlxGroupOptions& options);

/// A group of MLX ranks. Its calls block without limit and cannot be cancelled, so they belong on a
/// thread that the process can do without. Every call from the thread that called join(). A group
/// is never used again after an error: on MLX's ring the next operation would not return.
class MlxGroup {
 public:
  /// After set_mlx_environment. Errors: MLX's own; another rank or size than wanted.
  static Result<std::unique_ptr<MlxGroup>> join(const MlxGroupOptions& options);
  virtual ~MlxGroup() = default;

  /// `fill` writes this rank's slot of `bytes` bytes; `read` sees all ranks' slots in order.
  virtual Status all_gather(std::size_t bytes,
                            const std::function<void(std::span<std::byte>)>& fill,
                            const std::function<void(std::span<const std::byte>)>& read) = 0;
};

}  // namespace tandem::cluster
