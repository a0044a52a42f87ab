#pragma once
// Open files that the system allows this process.

namespace tandem::server {

/// Raises the process's limit of open files to `wanted` if the system lets it; never lowers it.
/// Returns the limit that holds then.
long raise_descriptor_limit(long wanted);

}  // namespace tandem::server
