#include "cli/environment.h"

#include <cstdlib>

#include "base/platform.h"

namespace tandem::cli {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

Environment read_environment() {
  Environment environment;
  environment.hf_hub_cache = variable("HF_HUB_CACHE");
  environment.huggingface_hub_cache = variable("HUGGINGFACE_HUB_CACHE");
  environment.hf_home = variable("HF_HOME");
  environment.xdg_cache_home = variable("XDG_CACHE_HOME");
  environment.home = variable("HOME");
  environment.ssh_connection = variable("SSH_CONNECTION");
  if (auto path = platform::executable_path(); path.ok()) environment.executable = *path;
  return environment;
}

}  // namespace tandem::cli
