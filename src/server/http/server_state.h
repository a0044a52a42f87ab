#pragma once
// What the connections of one server share.

#include <atomic>
#include <boost/asio/ssl/context.hpp>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "server/http/byte_budget.h"
#include "server/http/exchange.h"
#include "server/http/gate.h"
#include "server/http/options.h"
#include "tandem/deadline.h"

namespace tandem::server {

class Connection;

/// The open connections. Any thread may call.
class ConnectionList {
 public:
  void add(const std::shared_ptr<Connection>& connection);
  void remove(const Connection* connection);
  std::size_t size() const;
  void for_each(const std::function<void(Connection&)>& visit) const;
  /// The one that has waited longest for its client; null when all are being answered, or have
  /// waited only since `before`.
  std::shared_ptr<Connection> longest_waiting(Clock::time_point before) const;
  /// Waits until none is left. False at the deadline.
  bool wait_until_empty(Deadline deadline) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::unordered_map<const Connection*, std::weak_ptr<Connection>> open_;
};

/// How many answers are under way. Any thread may call.
class AnswerCount {
 public:
  void begin();
  void end();
  /// Waits until none is. False at the deadline.
  bool wait_until_none(Deadline deadline) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  int count_ = 0;
};

struct Counters {
  std::atomic<std::int64_t> connections_ever{0};
  std::atomic<std::int64_t> requests{0};
  std::atomic<std::int64_t> refusals{0};
  std::atomic<std::int64_t> gone{0};
  std::atomic<std::int64_t> slow{0};
  std::atomic<std::int64_t> evicted{0};
  std::atomic<std::int64_t> bytes_in{0};
  std::atomic<std::int64_t> bytes_out{0};
};

struct ServerState {
  ServerState(const HttpOptions& given, bool loopback, Handler routes)
      : options(given),
        gate(given, loopback),
        handler(std::move(routes)),
        bodies(std::make_shared<ByteBudget>(given.limits.bodies_bytes)),
        outs(std::make_shared<ByteBudget>(given.limits.outs_bytes)) {}

  const HttpOptions options;
  const Gate gate;
  const Handler handler;
  std::unique_ptr<boost::asio::ssl::context> tls;  // null: none
  std::shared_ptr<ByteBudget> bodies;  // shared with requests, which may outlive the server
  std::shared_ptr<ByteBudget> outs;    // shared with answers, which may outlive the server
  ConnectionList connections;
  AnswerCount answers;
  Counters counters;
  std::atomic<bool> draining{false};
};

}  // namespace tandem::server
