#include "base/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <csignal>

extern char** environ;

namespace tandem {
namespace {

struct Setup {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  Setup() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~Setup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;
};

int configure(Setup& setup, const SpawnFiles& files, bool own_group) {
  sigset_t none;
  sigset_t reset;
  ::sigemptyset(&none);
  ::sigemptyset(&reset);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD}) ::sigaddset(&reset, signal);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (own_group) flags |= POSIX_SPAWN_SETPGROUP;
#ifdef POSIX_SPAWN_CLOEXEC_DEFAULT  // macOS: nothing else leaks into the child
  flags |= POSIX_SPAWN_CLOEXEC_DEFAULT;
  for (const int fd : files.inherited) ::posix_spawn_file_actions_addinherit_np(&setup.actions, fd);
#endif
  int code = ::posix_spawnattr_setflags(&setup.attributes, flags);
  if (code == 0) code = ::posix_spawnattr_setsigmask(&setup.attributes, &none);
  if (code == 0) code = ::posix_spawnattr_setsigdefault(&setup.attributes, &reset);
  if (code == 0) code = ::posix_spawnattr_setpgroup(&setup.attributes, 0);
  if (code == 0 && files.null_input) {
    code =
        ::posix_spawn_file_actions_addopen(&setup.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  }
  for (const auto& [here, there] : files.ours) {
    if (code == 0) code = ::posix_spawn_file_actions_adddup2(&setup.actions, here, there);
  }
  return code;
}

}  // namespace

int spawn(const std::vector<std::string>& argv, const SpawnFiles& files, bool own_group,
          pid_t& pid) {
  Setup setup;
  if (const int code = configure(setup, files, own_group); code != 0) return code;
  std::vector<std::string> words = argv;
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return ::posix_spawnp(&pid, pointers[0], &setup.actions, &setup.attributes, pointers.data(),
                        environ);
}

}  // namespace tandem
