#include "cluster/rank/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

namespace tandem::cluster {
namespace {

constexpr std::size_t kHeaderBytes = 5;
constexpr std::size_t kReadBytes = 4096;

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;  // macOS: SO_NOSIGPIPE is set instead
#endif

Error gone() { return {ErrorCode::kUnavailable, "the process at the other end is gone"}; }

// Waits until the socket is ready for `events`, at least once even past the deadline.
Status wait_for(int fd, short events, Deadline deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::clamp<long long>(left, 0, 60'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return gone();
    if (Clock::now() >= deadline) {
      return Error{ErrorCode::kDeadlineExceeded, "no control message in time"};
    }
  }
}

std::uint32_t read_length(const std::string& buffer) {
  std::uint32_t length = 0;
  for (int i = 3; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(buffer[i]);
  return length;
}

// The first whole message of the buffer, taken out of it; nullopt when more bytes are needed.
Result<std::optional<ControlMessage>> take_message(std::string& buffer) {
  if (buffer.size() < kHeaderBytes) return std::optional<ControlMessage>();
  const std::uint32_t length = read_length(buffer);
  const auto kind = static_cast<std::uint8_t>(buffer[4]);
  if (length > kMaxControlBytes || kind == 0 || kind > static_cast<int>(kLastControlKind)) {
    return invalid("a control message of kind " + std::to_string(kind) + " and " +
                   std::to_string(length) + " bytes is not one of ours");
  }
  if (buffer.size() < kHeaderBytes + length) return std::optional<ControlMessage>();
  ControlMessage message{static_cast<ControlKind>(kind), buffer.substr(kHeaderBytes, length)};
  buffer.erase(0, kHeaderBytes + length);
  return std::optional<ControlMessage>(std::move(message));
}

}  // namespace

ControlChannel::ControlChannel(int fd) : fd_(fd) {
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
#ifdef SO_NOSIGPIPE
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}

Status ControlChannel::send(ControlKind kind, std::string_view payload, Deadline deadline) {
  if (payload.size() > kMaxControlBytes) {
    return invalid("a control message of " + std::to_string(payload.size()) + " bytes is over " +
                   std::to_string(kMaxControlBytes));
  }
  const auto length = static_cast<std::uint32_t>(payload.size());
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>(length >> (8 * i) & 0xFF));
  bytes.push_back(static_cast<char>(kind));
  bytes.append(payload);
  const std::lock_guard lock(send_mutex_);
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t count = ::send(fd_, bytes.data() + sent, bytes.size() - sent, kSendFlags);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (auto ready = wait_for(fd_, POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return gone();
    }
  }
  return {};
}

Result<ControlMessage> ControlChannel::receive(Deadline deadline) {
  while (true) {
    auto message = take_message(buffer_);
    if (!message) return message.error();
    if (*message) return std::move(**message);
    if (auto ready = wait_for(fd_, POLLIN, deadline); !ready) return ready.error();
    char chunk[kReadBytes];
    const ssize_t count = ::recv(fd_, chunk, sizeof chunk, 0);
    if (count == 0) return gone();
    if (count > 0) {
      buffer_.append(chunk, static_cast<std::size_t>(count));
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
      return gone();
    }
  }
}

}  // namespace tandem::cluster
