#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tandem {

void check(bool condition, std::string_view why, std::source_location where) {
  if (condition) return;
  std::fprintf(stderr, "tandem: internal error: %.*s (%s:%u)\n", static_cast<int>(why.size()),
               why.data(), where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

}  // namespace tandem
