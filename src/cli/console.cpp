#include "cli/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/select.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace tandem::cli {
namespace {

constexpr int kInput = 0;
constexpr int kOutput = 1;
constexpr int kError = 2;
constexpr std::size_t kReadBytes = 1U << 16;

/// Waits until `fd`, which somebody made non-blocking, takes more. False with errno set.
bool wait_for_output(int fd) {
  // select() and not poll(), which does not know terminals on macOS.
  fd_set ready;
  FD_ZERO(&ready);
  FD_SET(fd, &ready);
  return ::select(fd + 1, nullptr, &ready, nullptr, nullptr) >= 0 || errno == EINTR;
}

/// All of `text`; false with errno set.
bool write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for_output(fd)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

/// Waits until standard input has something to say; false when `wake` has it first.
bool wait_for_input(int wake) {
  if (wake >= FD_SETSIZE) wake = -1;
  for (;;) {
    // select() and not poll(), which does not know terminals on macOS.
    fd_set ready;
    FD_ZERO(&ready);
    FD_SET(kInput, &ready);
    if (wake >= 0) FD_SET(wake, &ready);
    const int count = ::select(std::max(kInput, wake) + 1, &ready, nullptr, nullptr, nullptr);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return true;  // the read that follows says why
    return wake < 0 || !FD_ISSET(wake, &ready);
  }
}

Error input_error() {
  return invalid(fmt::format("standard input cannot be read: {}", std::strerror(errno)));
}

}  // namespace

Console::Console() {
  for (const int fd : {kInput, kOutput, kError}) {
    // Opened the wrong way round, so that using it still fails.
    if (::fcntl(fd, F_GETFD) == -1) {
      const int opened = ::open("/dev/null", fd == kInput ? O_WRONLY : O_RDONLY);
      if (opened >= 0 && opened != fd) ::close(opened);
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
}

Status Console::write(std::string_view text) {
  if (write_whole(kOutput, text)) return {};
  return Error{ErrorCode::kUnavailable,
               fmt::format("standard output cannot be written: {}", std::strerror(errno))};
}

void Console::note(std::string_view text) { static_cast<void>(write_whole(kError, text)); }

bool Console::input_is_terminal() const { return ::isatty(kInput) == 1; }
bool Console::error_is_terminal() const { return ::isatty(kError) == 1; }

Result<std::string> Console::read_all(std::size_t max_bytes) {
  std::string text = std::exchange(pending_, {});
  std::string block(kReadBytes, '\0');
  while (!ended_) {
    const ssize_t count = ::read(kInput, block.data(), block.size());
    if (count < 0 && errno == EINTR) return Error{ErrorCode::kCancelled, "interrupted"};
    if (count < 0) return input_error();
    if (count == 0) ended_ = true;
    text.append(block, 0, static_cast<std::size_t>(count));
    if (text.size() > max_bytes) {
      return invalid(fmt::format("standard input is longer than {} bytes", max_bytes));
    }
  }
  return text;
}

Result<std::optional<std::string>> Console::read_line(std::size_t max_bytes, int wake) {
  std::string block(kReadBytes, '\0');
  for (;;) {
    const std::size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return std::optional<std::string>(std::move(line));
    }
    if (pending_.size() > max_bytes) {
      return invalid(fmt::format("the line is longer than {} bytes", max_bytes));
    }
    if (ended_) {
      if (pending_.empty()) return std::optional<std::string>();
      return std::optional<std::string>(std::exchange(pending_, {}));
    }
    if (!wait_for_input(wake)) return Error{ErrorCode::kCancelled, "interrupted"};
    const ssize_t count = ::read(kInput, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return input_error();
    if (count == 0) ended_ = true;
    pending_.append(block, 0, static_cast<std::size_t>(count));
  }
}

}  // namespace tandem::cli
