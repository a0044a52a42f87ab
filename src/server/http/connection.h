#pragma once
// One client: reads its requests, hands them on, writes the answers.

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "server/http/outgoing.h"
#include "server/http/request_reader.h"
#include "server/http/server_state.h"
#include "server/http/stream.h"
#include "tandem/deadline.h"

namespace tandem::server {

/// Two coroutines on the strand of the socket: one always reads, so that a client that goes away
/// is noticed at once; one writes. Everything between them is plain code on that strand. A timer
/// watches whichever wait is under way. Shared by its coroutines and callbacks; whoever ends it
/// last destroys it.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// socket: its executor is a strand. state: outlives the connection.
  Connection(asio::ip::tcp::socket socket, ServerState& state, std::string peer);
  ~Connection();

  // On any thread:
  void start();
  /// Answers 503 and closes.
  void start_refused();
  void close();
  /// Closes the connection if it is between two requests.
  void close_if_idle();
  /// Closes the connection unless an answer is being made. Until then it counts as not waiting, so
  /// that the next search for the longest waiting one finds another.
  void evict();
  /// Since when it has waited for its client; nullopt while an answer is being made.
  std::optional<Clock::time_point> waiting_since() const;

 private:
  enum class Stage { kOpening, kOpen, kLingering, kClosed };
  static constexpr std::size_t kReadBytes = 8 << 10;

  // Bytes and time.
  asio::awaitable<bool> open();
  asio::awaitable<void> read_all(std::shared_ptr<Connection> self);
  asio::awaitable<void> write_all(std::shared_ptr<Connection> self);
  asio::awaitable<bool> write(std::string bytes, bool counted);
  asio::awaitable<void> say_goodbye();
  void input_ended(bool by_error);
  void output_ready();
  void die();
  void drop_slow();
  Deadline deadline() const;
  void watch();
  void time_over();
  void wait_from_now();
  void on_strand(void (Connection::*what)());

  // Requests and answers.
  void advance();
  bool admit();
  void dispatch();
  void refuse(Refused refused);
  void answer_with(HttpResponse response, bool keep_alive);
  void begin_answer(bool keep_alive);
  bool finish_answer(bool keep_alive);
  bool account_body(std::size_t bytes);

  ServerState& state_;
  std::optional<asio::ip::tcp::socket> socket_;  // until it is in stream_
  asio::any_io_executor strand_;
  std::unique_ptr<Stream> stream_;
  std::string peer_;
  Stage stage_ = Stage::kOpening;

  RequestReader reader_;
  RequestReader::Phase phase_ = RequestReader::Phase::kIdle;
  std::array<char, kReadBytes> scratch_;
  bool unwanted_ = false;    // there is no room for it
  bool discarding_ = false;  // what still arrives is thrown away
  bool input_ended_ = false;
  bool served_ = false;         // had an answer before
  bool owes_continue_ = false;  // the client waits for 100 before it sends its body
  std::size_t body_bytes_ = 0;  // taken from state_.bodies
  int key_ = -1;                // that opened the request being read

  std::shared_ptr<Outgoing> answer_;  // the one under way
  std::string answer_id_;
  std::string interim_;  // a 100, to be written before it
  bool writing_ = false;
  Clock::time_point moved_;  // when the client last took bytes

  Clock::time_point since_;                     // when the present wait began
  std::atomic<std::int64_t> waiting_since_{0};  // since_ for other threads; 0: not waiting
  asio::steady_timer timer_;
  Deadline watched_ = Deadline::max();  // when timer_ fires
  asio::steady_timer readable_;         // cancelled to go on reading
  asio::steady_timer writable_;         // cancelled when there is something to write
};

}  // namespace tandem::server
