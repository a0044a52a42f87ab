#include <malloc/malloc.h>

#include "server/serving/free_memory.h"

namespace tandem::server {

void return_free_memory() { malloc_zone_pressure_relief(nullptr, 0); }

}  // namespace tandem::server
