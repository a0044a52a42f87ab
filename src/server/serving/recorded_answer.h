#pragma once
// One request's answer on its way, and what is remembered of it.

#include <functional>
#include <memory>
#include <string>

#include "server/api/api_error.h"
#include "server/http/exchange.h"
#include "server/serving/request_record.h"
#include "tandem/deadline.h"

namespace tandem::server {

/// A Responder that keeps the request's record and hands it on when the answer ends, however it
/// does: just before its last bytes go out, so that a client that has them finds itself counted and
/// its place free. One thread at a time: whoever makes the answer.
class RecordedAnswer {
 public:
  using Done = std::function<void(const RequestRecord&)>;

  RecordedAnswer(std::shared_ptr<Responder> responder, RequestRecord record, Done done);
  ~RecordedAnswer();
  RecordedAnswer(const RecordedAnswer&) = delete;
  RecordedAnswer& operator=(const RecordedAnswer&) = delete;

  void send(HttpResponse response);
  void fail(const ApiError& error);
  void begin(HttpResponse response);
  /// False: nobody reads on.
  bool write(std::string piece);
  void end(std::string last);
  bool closed() const { return responder_->closed(); }
  /// Something that ends with this answer (a place in a limit).
  void hold(std::shared_ptr<void> place) { held_ = std::move(place); }

  RequestRecord& record() { return record_; }
  Clock::time_point began() const { return began_; }
  /// Milliseconds since the request came.
  double elapsed_ms() const;

 private:
  void finish();

  std::shared_ptr<Responder> responder_;
  RequestRecord record_;
  Done done_;
  Clock::time_point began_ = Clock::now();
  std::shared_ptr<void> held_;
};

}  // namespace tandem::server
