#include "server/http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <utility>

#include "server/http/request_id.h"

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

Refused too_many_bytes() {
  return not_now("the server is receiving too many bytes at once; try again later", 1);
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

// Requests and answers, from here on.

// Goes as far as the bytes that have arrived allow, up to the next request that needs an answer.
void Connection::advance() {
  while (!answer_ && stage_ != Stage::kClosed) {
    switch (reader_.next()) {
      case RequestReader::Event::kHead:
        wait_from_now();
        phase_ = RequestReader::Phase::kBody;
        if (admit()) continue;
        return;
      case RequestReader::Event::kRequest:
        dispatch();
        continue;
      case RequestReader::Event::kRefused:
        return refuse(reader_.refused());
      case RequestReader::Event::kMore:
        break;
    }
    if (reader_.phase() != phase_) wait_from_now();
    phase_ = reader_.phase();
    if (!account_body(reader_.body_bytes())) {
      return refuse(too_many_bytes());
    }
    if (std::exchange(owes_continue_, false) && reader_.body_bytes() == 0) {
      interim_ = "HTTP/1.1 100 Continue\r\n\r\n";
      writable_.cancel();
    }
    return watch();
  }
}

// Whether the request whose head was read may send its body. Else it is answered here.
bool Connection::admit() {
  owes_continue_ = reader_.head().expects_continue;
  if (state_.draining) {
    refuse(not_now("the server is stopping", 5));
    return false;
  }
  auto verdict = state_.gate.check(reader_.head());
  if (verdict.refused) {
    refuse(std::move(*verdict.refused));
    return false;
  }
  key_ = verdict.key;
  if (!verdict.answer) return true;
  // Without a body to skip the connection can go on: a browser's preflight costs none.
  const bool bodyless = !reader_.head().chunked && reader_.head().content_length == 0;
  const bool read = bodyless && reader_.next() == RequestReader::Event::kRequest;
  answer_with(std::move(*verdict.answer), read && reader_.head().keep_alive);
  return false;
}

void Connection::dispatch() {
  if (!account_body(reader_.body_bytes())) return refuse(too_many_bytes());
  auto held = std::make_shared<HeldBytes>(state_.bodies, std::exchange(body_bytes_, 0));
  begin_answer(reader_.head().keep_alive);
  RequestHead head = reader_.take_head();
  HttpRequest request;
  request.id = answer_id_;
  request.method = std::move(head.method);
  request.path = std::move(head.path);
  request.query = std::move(head.query);
  request.headers = std::move(head.headers);
  request.body = reader_.take_body();
  request.peer = peer_;
  request.key = key_;
  ++state_.counters.requests;
  // Whatever the routes throw, dropping the responder answers 500.
  try {
    state_.handler(std::move(request), make_responder(answer_, std::move(held)));
  } catch (...) {
    return;
  }
}

void Connection::begin_answer(bool keep_alive) {
  AnswerStyle style;
  style.id = answer_id_ = make_request_id();
  style.http10 = reader_.head().http10;
  style.head_only = reader_.head().method == "HEAD";
  style.keep_alive = keep_alive && !state_.draining;
  style.headers = state_.gate.cors_headers(reader_.head());
  auto wake = [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->on_strand(&Connection::output_ready);
  };
  answer_ = std::make_shared<Outgoing>(std::move(style), state_.options.limits.out_bytes,
                                       state_.outs, std::move(wake));
  state_.answers.begin();
  owes_continue_ = false;
  wait_from_now();
}

void Connection::answer_with(HttpResponse response, bool keep_alive) {
  begin_answer(keep_alive);
  discarding_ = !keep_alive;
  answer_->send(std::move(response));
}

void Connection::refuse(Refused refused) {
  account_body(0);
  answer_with(answer_of(refused), false);
  ++state_.counters.refusals;
  if (!state_.options.on_refusal) return;
  state_.options.on_refusal({answer_id_, peer_, refused.status, refused.message});
}

// True when the connection goes on with its next request.
bool Connection::finish_answer(bool keep_alive) {
  std::exchange(answer_, nullptr)->close();
  state_.answers.end();
  if (!keep_alive || discarding_) return false;
  served_ = true;
  phase_ = RequestReader::Phase::kIdle;
  wait_from_now();
  advance();
  if (!answer_ && (input_ended_ || (state_.draining && phase_ == RequestReader::Phase::kIdle))) {
    return false;
  }
  readable_.cancel();
  return true;
}

// Makes `bytes` what this connection holds of the bodies' budget. False: there is no room.
bool Connection::account_body(std::size_t bytes) {
  if (bytes > body_bytes_ && !state_.bodies->take(bytes - body_bytes_)) return false;
  if (bytes < body_bytes_) state_.bodies->give_back(body_bytes_ - bytes);
  body_bytes_ = bytes;
  return true;
}

}  // namespace tandem::server
