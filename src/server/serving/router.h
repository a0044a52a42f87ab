#pragma once
// Paths and methods -> answers.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "server/http/exchange.h"
#include "server/http/server.h"
#include "server/serving/info.h"
#include "server/serving/key_slots.h"
#include "server/serving/request_record.h"
#include "server/serving/service.h"
#include "server/serving/work_queue.h"

namespace tandem::server {

struct RouterOptions {
  ModelCard card;
  int requests_per_key = 0;         // under way at once; 0: no limit
  int workers = 2;                  // threads that prepare requests
  std::size_t queue_max = 256;      // requests that wait for them
  std::chrono::seconds stall{120};  // without a step although there is work: unhealthy
  std::function<void(const RequestRecord&)> log;
  std::function<HttpCounters()> http;  // for /metrics
};

/// Answers requests, from any thread, without blocking it. `service` outlives the router.
class Router {
 public:
  Router(const Service& service, RouterOptions options);

  void handle(HttpRequest request, std::shared_ptr<Responder> responder);

 private:
  struct Route;
  using Prepare = void (*)(const Service&, const std::string& body, int key,
                           std::shared_ptr<RecordedAnswer> answer);

  void dispatch(const Route& route, HttpRequest request, std::shared_ptr<RecordedAnswer> answer);
  void queue(Prepare prepare, HttpRequest request, std::shared_ptr<RecordedAnswer> answer);
  HttpResponse info(const Route& route, const HttpRequest& request) const;
  HttpResponse model(const std::string& path) const;

  const Service* service_;
  RouterOptions options_;
  KeySlots slots_;
  WorkQueue work_;  // last: its threads end first
};

}  // namespace tandem::server
