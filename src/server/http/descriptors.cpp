#include "server/http/descriptors.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace tandem::server {
namespace {

constexpr rlim_t kMacosMax = 10240;  // OPEN_MAX, beyond which macOS refuses whatever it reports

bool set_soft_limit(rlimit limit, rlim_t soft) {
  limit.rlim_cur = soft;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

}  // namespace

long raise_descriptor_limit(long wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  const rlim_t goal = std::min(static_cast<rlim_t>(wanted), limit.rlim_max);
  if (goal > limit.rlim_cur && !set_soft_limit(limit, goal)) {
    set_soft_limit(limit, std::min(goal, kMacosMax));
  }
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  const auto most = static_cast<rlim_t>(std::numeric_limits<long>::max());
  return static_cast<long>(std::min(limit.rlim_cur, most));
}

}  // namespace tandem::server
