#pragma once
// An answer on its way: the routes put it in from any thread, the connection takes bytes out.

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "server/http/byte_budget.h"
#include "server/http/exchange.h"
#include "server/http/response_head.h"

namespace tandem::server {

/// Knows nothing of sockets, and may outlive the connection and the server: once close()
/// was called it only swallows what it is given.
class Outgoing {
 public:
  /// out_bytes_max: bytes waiting for the client beyond which a further piece is refused.
  /// wake: tells the connection that there is something to take; called under the lock, so that it
  /// is never called after close() returned.
  Outgoing(AnswerStyle style, std::size_t out_bytes_max, std::shared_ptr<ByteBudget> outs,
           std::function<void()> wake);
  ~Outgoing();
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  // The routes' side; see Responder. The first answer counts, and what comes after its end is
  // dropped.
  void send(HttpResponse response);
  void begin(HttpResponse response);
  bool write(std::string piece);
  void end();
  bool closed() const;
  void on_close(std::function<void()> gone);
  /// Nobody will answer any more: a 500, or a cut when the answer has begun.
  void abandon();

  // The connection's side.
  struct Taken {
    std::string bytes;
    bool last = false;        // nothing follows
    bool keep_alive = false;  // with last: the client knows where the answer ended
  };
  Taken take();
  /// The client has `bytes` more of what was taken.
  void sent(std::size_t bytes);
  bool ended() const;
  /// The routes wrote more than a slow client may leave waiting: to be dropped.
  bool too_slow() const;
  /// All was sent, or the client is gone. Calls the routes' callback unless the answer had ended.
  void close();

 private:
  enum class State { kWaiting, kBegun, kEnded, kCut };
  void put(std::string_view bytes);
  void put_piece(std::string_view piece);
  void wake();

  mutable std::mutex mutex_;
  AnswerStyle style_;
  std::size_t out_bytes_max_;
  std::shared_ptr<ByteBudget> outs_;
  std::function<void()> wake_;
  std::function<void()> gone_;
  State state_ = State::kWaiting;
  bool closed_ = false;
  bool too_slow_ = false;
  bool awake_ = false;      // wake_ was called and take() has not come yet
  std::string pending_;     // not yet taken
  std::size_t unsent_ = 0;  // pending_ and what was taken but not sent
};

/// The routes' end of an Outgoing. `held` is let go when the answer begins, or when the routes drop
/// theirs.
std::shared_ptr<Responder> make_responder(std::shared_ptr<Outgoing> answer,
                                          std::shared_ptr<void> held = nullptr);

}  // namespace tandem::server
