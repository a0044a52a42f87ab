#include "cli/utc_time.h"

#include <cstddef>
#include <ctime>

namespace tandem::cli {

std::string utc_now() {
  const std::time_t time = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text, size};
}

}  // namespace tandem::cli
