#include "cluster/gateway/local_worker.h"

#include <sys/socket.h>

#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>

#include "cluster/timing.h"
#include "cluster/trust/secrets.h"
#include "cluster/wire/wire_error.h"

namespace tandem::cluster {

Result<std::unique_ptr<LocalWorker>> LocalWorker::start(const std::string& executable,
                                                        const std::string& key) {
  auto child = ChildProcess::start(executable, {"worker", "--parent"}, true);
  if (!child) return child.error();
  std::unique_ptr<LocalWorker> worker(new LocalWorker(std::move(*child)));
  ChildSecrets secrets;
  secrets.credentials.key = key;
  if (auto sent =
          worker->channel_.send(ControlKind::kSecret, pack(secrets), after(timing::kControl));
      !sent) {
    const auto death = worker->death(after(timing::kReap));
    return Error{ErrorCode::kUnavailable, "a local worker " + death.value_or("did not start")};
  }
  return worker;
}

LocalWorker::LocalWorker(std::unique_ptr<ChildProcess> child)
    : child_(std::move(child)), channel_(child_->control()) {}

Result<config::Host> LocalWorker::listening(Deadline deadline) {
  if (host_) return *host_;
  auto message = channel_.receive(deadline);
  if (!message) {
    const bool late = message.error().code == ErrorCode::kDeadlineExceeded;
    const auto death = this->death(after(timing::kReap));
    return Error{ErrorCode::kUnavailable,
                 "a local worker " +
                     death.value_or(late ? "did not start in time" : "closed its control socket")};
  }
  if (message->kind == ControlKind::kRefused) {
    v1::Error error;
    error.ParseFromString(message->payload);
    return from_wire(error).value_or(Error{ErrorCode::kUnavailable, "a local worker failed"});
  }
  const std::string& text = message->payload;
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (message->kind != ControlKind::kPort || code != std::errc() ||
      end != text.data() + text.size() || port == 0) {
    return Error{ErrorCode::kInternal, "a local worker did not report its port"};
  }
  host_ = config::Host{"127.0.0.1", port, {}};
  return *host_;
}

std::optional<std::string> LocalWorker::death(Deadline deadline) {
  const auto status = child_->wait(deadline);
  if (!status) return std::nullopt;
  return describe(*status);
}

LocalWorkers::~LocalWorkers() {
  for (const auto& worker : workers) worker->ask_to_end();
  const Deadline grace = after(timing::kStopGrace);
  for (const auto& worker : workers) worker->end(grace);
}

void LocalWorker::ask_to_end() { ::shutdown(child_->control(), SHUT_RDWR); }

void LocalWorker::end(Deadline deadline) {
  if (!child_->wait(deadline)) child_->kill_and_reap();
}

}  // namespace tandem::cluster
