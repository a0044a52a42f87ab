// The part of a connection that deals in requests and answers instead of bytes.

#include <utility>

#include "server/http/connection.h"
#include "server/http/request_id.h"

namespace tandem::server {
namespace {

Refused too_many_bytes() {
  return not_now("the server is receiving too many bytes at once; try again later", 1);
}

}  // namespace

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
