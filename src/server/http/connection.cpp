#include "server/http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <utility>

namespace tandem::server {
namespace {

using Tcp = asio::ip::tcp;

constexpr char kTlsHandshakeByte = 0x16;

// A timer that never fires is what one coroutine waits on until another cancels it.
asio::awaitable<void> wait_for_cancel(asio::steady_timer& timer) {
  error_code cancelled;
  timer.expires_at(Deadline::max());
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
}

}  // namespace

Connection::Connection(Tcp::socket socket, ServerState& state, std::string peer)
    : state_(state),
      socket_(std::move(socket)),
      strand_(socket_->get_executor()),
      peer_(std::move(peer)),
      reader_(state.options.limits),
      timer_(strand_),
      readable_(strand_),
      writable_(strand_) {}

Connection::~Connection() {
  if (answer_) answer_->close();
}

void Connection::start() {
  wait_from_now();
  state_.connections.add(shared_from_this());
  // Only memory that runs out is thrown here.
  const auto ended = [self = shared_from_this()](std::exception_ptr thrown) {
    if (thrown) self->die();
  };
  asio::co_spawn(strand_, read_all(shared_from_this()), ended);
}

void Connection::start_refused() {
  unwanted_ = true;
  start();
}

void Connection::on_strand(void (Connection::*what)()) {
  asio::post(strand_, [self = shared_from_this(), what] { ((*self).*what)(); });
}

void Connection::close() { on_strand(&Connection::die); }

void Connection::close_if_idle() {
  asio::post(strand_, [self = shared_from_this()] {
    const bool idle = !self->answer_ && self->phase_ == RequestReader::Phase::kIdle;
    if (idle && self->stage_ == Stage::kOpen) self->die();
  });
}

void Connection::evict() {
  waiting_since_.store(0);
  asio::post(strand_, [self = shared_from_this()] {
    if (self->answer_ || self->stage_ == Stage::kClosed) return;
    ++self->state_.counters.evicted;
    self->die();
  });
}

std::optional<Clock::time_point> Connection::waiting_since() const {
  const std::int64_t ticks = waiting_since_.load();
  if (ticks == 0) return std::nullopt;
  return Clock::time_point(Clock::duration(ticks));
}

void Connection::wait_from_now() {
  since_ = Clock::now();
  waiting_since_.store(answer_ ? 0 : since_.time_since_epoch().count());
}

// Makes the stream. A client that speaks plain HTTP to a TLS port gets an answer that it can read.
asio::awaitable<bool> Connection::open() {
  watch();
  error_code error;
  socket_->set_option(Tcp::no_delay(true), error);
  if (state_.tls == nullptr) {
    stream_ = make_plain_stream(std::move(*socket_));
    socket_.reset();
  } else {
    char first = 0;
    co_await socket_->async_receive(asio::buffer(&first, 1), Tcp::socket::message_peek,
                                    asio::redirect_error(asio::use_awaitable, error));
    if (error || stage_ == Stage::kClosed) co_return false;
    if (first == kTlsHandshakeByte) {
      stream_ = make_tls_stream(std::move(*socket_), *state_.tls);
    } else {
      stream_ = make_plain_stream(std::move(*socket_));
      refuse({400, "this port speaks TLS: use https://"});
    }
    socket_.reset();
    co_await stream_->open(error);
  }
  co_return !error && stage_ != Stage::kClosed;
}

asio::awaitable<void> Connection::read_all(std::shared_ptr<Connection> self) {
  const bool opened = co_await open();
  if (!opened) {
    die();
    co_return;
  }
  stage_ = Stage::kOpen;
  if (unwanted_ && !answer_) {
    refuse(not_now("the server has too many connections; try again later", 1));
  }
  const auto ended = [self](std::exception_ptr thrown) {
    if (thrown) self->die();
  };
  asio::co_spawn(strand_, write_all(self), ended);
  while (stage_ != Stage::kClosed) {
    const std::size_t ahead = reader_.waiting_bytes();
    if (answer_ && !discarding_ && ahead >= state_.options.limits.ahead_bytes) {
      co_await wait_for_cancel(readable_);
      continue;
    }
    error_code error;
    const std::size_t bytes = co_await stream_->read(asio::buffer(scratch_), error);
    if (stage_ == Stage::kClosed) co_return;
    if (error) {
      input_ended(error != asio::error::eof);
      co_return;
    }
    state_.counters.bytes_in += static_cast<std::int64_t>(bytes);
    if (discarding_) continue;
    reader_.feed({scratch_.data(), bytes});
    if (!answer_) advance();
  }
}

void Connection::input_ended(bool by_error) {
  input_ended_ = true;
  if (by_error || stage_ == Stage::kLingering) return die();
  if (answer_) {
    if (!answer_->ended()) die();
    return;
  }
  if (phase_ == RequestReader::Phase::kIdle) return die();
  refuse({400, "the connection ended before the request did"});
}

void Connection::output_ready() {
  if (answer_ && answer_->too_slow()) return drop_slow();
  writable_.cancel();
}

asio::awaitable<void> Connection::write_all(std::shared_ptr<Connection> /*alive*/) {
  while (stage_ != Stage::kClosed) {
    if (!interim_.empty()) {
      const bool written = co_await write(std::exchange(interim_, {}), false);
      if (!written) co_return;
      continue;
    }
    Outgoing::Taken taken;
    if (answer_) taken = answer_->take();
    if (taken.bytes.empty() && !taken.last) {
      co_await wait_for_cancel(writable_);
      continue;
    }
    const bool written = co_await write(std::move(taken.bytes), true);
    if (!written) co_return;
    if (taken.last && !finish_answer(taken.keep_alive)) {
      co_await say_goodbye();
      co_return;
    }
  }
}

// Writes all of it; counted: it is the answer's. False when the connection is no more.
asio::awaitable<bool> Connection::write(std::string bytes, bool counted) {
  writing_ = true;
  moved_ = Clock::now();
  watch();
  std::size_t done = 0;
  while (done < bytes.size()) {
    error_code error;
    const asio::const_buffer rest = asio::buffer(bytes) + done;
    const std::size_t sent = co_await stream_->write(rest, error);
    if (stage_ == Stage::kClosed) co_return false;
    if (error) {
      die();
      co_return false;
    }
    done += sent;
    moved_ = Clock::now();
    state_.counters.bytes_out += static_cast<std::int64_t>(sent);
    if (counted) answer_->sent(sent);
  }
  writing_ = false;
  co_return true;
}

// After the last answer: closing at once, with bytes of the client unread, would make the system
// throw the answer away. So the client gets time to take it and to close its end.
asio::awaitable<void> Connection::say_goodbye() {
  if (input_ended_) {
    die();
    co_return;
  }
  stage_ = Stage::kLingering;
  discarding_ = true;
  wait_from_now();
  watch();
  readable_.cancel();
  co_await stream_->finish();
}

void Connection::die() {
  if (stage_ == Stage::kClosed) return;
  const auto self = shared_from_this();
  stage_ = Stage::kClosed;
  if (socket_) {
    error_code ignored;
    socket_->close(ignored);
  }
  if (stream_) stream_->close();
  timer_.cancel();
  readable_.cancel();
  writable_.cancel();
  account_body(0);
  waiting_since_.store(0);
  state_.connections.remove(this);
  if (!answer_) return;
  if (!answer_->ended()) ++state_.counters.gone;
  std::exchange(answer_, nullptr)->close();
  state_.answers.end();
}

void Connection::drop_slow() {
  if (stage_ == Stage::kClosed) return;
  ++state_.counters.slow;
  if (stream_) stream_->reset();
  die();
}

Deadline Connection::deadline() const {
  const HttpLimits& limits = state_.options.limits;
  if (stage_ == Stage::kClosed) return Deadline::max();
  if (stage_ == Stage::kOpening) return since_ + limits.head_time;
  if (stage_ == Stage::kLingering) return since_ + limits.linger_time;
  if (writing_) return moved_ + limits.stall_time;
  if (answer_) return Deadline::max();
  if (phase_ == RequestReader::Phase::kBody) {
    const auto earned = std::chrono::milliseconds(reader_.body_bytes() * 1000 / limits.body_rate);
    return since_ + limits.body_time + earned;
  }
  const bool idle = phase_ == RequestReader::Phase::kIdle && served_;
  return since_ + (idle ? limits.idle_time : limits.head_time);
}

// Sets the timer to the present deadline, unless it fires before that anyway and will look again:
// most waits end long before their time, and resetting a timer costs more than comparing.
void Connection::watch() {
  const Deadline at = deadline();
  if (at >= watched_) return;
  watched_ = at;
  timer_.expires_at(at);
  timer_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled) self->time_over();
  });
}

void Connection::time_over() {
  watched_ = Deadline::max();
  if (Clock::now() < deadline()) return watch();
  if (writing_ && stage_ == Stage::kOpen) return drop_slow();
  const bool can_answer =
      stage_ == Stage::kOpen && !writing_ && !answer_ && phase_ != RequestReader::Phase::kIdle;
  if (!can_answer) return die();
  refuse({408, phase_ == RequestReader::Phase::kBody ? "the body came too slowly"
                                                     : "the head of the request came too slowly"});
}

}  // namespace tandem::server
