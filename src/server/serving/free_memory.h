#pragma once
// Memory that the program no longer uses and the allocator keeps.

namespace tandem::server {

/// Returns it to the system, as far as the allocator can. Takes milliseconds.
void return_free_memory();

}  // namespace tandem::server
