#include "server/serving/recorded_answer.h"

#include <utility>

namespace tandem::server {

RecordedAnswer::RecordedAnswer(std::shared_ptr<Responder> responder, RequestRecord record,
                               Done done)
    : responder_(std::move(responder)), record_(std::move(record)), done_(std::move(done)) {}

RecordedAnswer::~RecordedAnswer() {
  if (!done_) return;
  record_.finish = "gone";
  finish();
}

double RecordedAnswer::elapsed_ms() const { return milliseconds(Clock::now() - began_); }

void RecordedAnswer::finish() {
  if (!done_) return;
  record_.total_ms = elapsed_ms();
  std::exchange(done_, nullptr)(record_);
  held_.reset();
}

void RecordedAnswer::send(HttpResponse response) {
  record_.status = response.status;
  finish();
  responder_->send(std::move(response));
}

void RecordedAnswer::fail(const ApiError& error) {
  record_.error = error.message;
  send(error_response(error));
}

void RecordedAnswer::begin(HttpResponse response) {
  record_.status = response.status;
  responder_->begin(std::move(response));
}

bool RecordedAnswer::write(std::string piece) { return responder_->write(std::move(piece)); }

void RecordedAnswer::end(std::string last) {
  finish();
  responder_->write(std::move(last));
  responder_->end();
}

}  // namespace tandem::server
