#pragma once
// The environment variables that the program reads; nothing else reads any.

#include <filesystem>
#include <string>

namespace tandem::cli {

/// Empty: not set. The names are Hugging Face's and OpenSSH's own.
struct Environment {
  std::string hf_hub_cache;           // HF_HUB_CACHE
  std::string huggingface_hub_cache;  // HUGGINGFACE_HUB_CACHE, its older name
  std::string hf_home;                // HF_HOME
  std::string xdg_cache_home;         // XDG_CACHE_HOME
  std::string home;                   // HOME
  std::string ssh_connection;         // SSH_CONNECTION: "client port server port", set by sshd
  std::filesystem::path executable;   // the running program
};

/// Reads the process's environment.
Environment read_environment();

}  // namespace tandem::cli
