#include <malloc.h>

#include "server/serving/free_memory.h"

namespace tandem::server {

void return_free_memory() { malloc_trim(0); }

}  // namespace tandem::server
