#include "server/serving/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "server/serving/free_memory.h"
#include "server/serving/text_routes.h"
#include "server/web/assets.h"
#include "server/web/web_page.h"

namespace tandem::server {

/// What answers a path. `prepare`: on the work queue; else `kind` says which figures.
struct Router::Route {
  enum class Kind { kWork, kModels, kModel, kHealth, kMetrics, kCluster, kOpenApi };
  std::string_view method;
  std::string_view path;
  Kind kind = Kind::kWork;
  Prepare prepare = nullptr;
  bool generates = false;  // needs the model, not only its tokenizer
};

namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr std::string_view kOpenApi = "openapi.json";
/// Bytes of a body behind which memory is given back.
constexpr std::size_t kLargeBody = 1U << 20;
constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

bool is_json(const HttpRequest& request) {
  const std::string* type = request.header("Content-Type");
  if (type == nullptr) return false;
  std::string_view media = *type;
  media = media.substr(0, media.find(';'));
  while (!media.empty() && (media.back() == ' ' || media.back() == '\t')) media.remove_suffix(1);
  constexpr std::string_view kJson = "application/json";
  return std::ranges::equal(media, kJson, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
  });
}

ApiError no_such_path(const HttpRequest& request) {
  return {
      .status = 404,
      .message = fmt::format("Invalid URL ({} {})", request.method, request.path.substr(0, 200))};
}

/// What a route answers to, for Allow.
std::string allowed_methods(std::string_view method) {
  return fmt::format("{}{}, OPTIONS", method, method == "GET" ? ", HEAD" : "");
}

HttpResponse wrong_method(const HttpRequest& request, std::string_view allowed) {
  HttpResponse response =
      error_response({.status = 405,
                      .message = fmt::format("Not allowed to {} on {} (HINT: {} is)",
                                             request.method, request.path.substr(0, 200), allowed),
                      .code = "method_not_supported"});
  response.headers.push_back({"Allow", allowed_methods(allowed)});
  return response;
}

HttpResponse options_of(std::string_view method) {
  HttpResponse response;
  response.status = 204;
  response.headers.push_back({"Allow", allowed_methods(method)});
  return response;
}

HttpResponse json_response(const Json& json) {
  HttpResponse response;
  response.body = dump(json);
  return response;
}

/// The description of this API, one of the embedded files.
HttpResponse openapi() {
  HttpResponse response;
  const auto assets = web_assets();
  const auto found = std::ranges::find(assets, kOpenApi, &WebAsset::name);
  check(found != assets.end(), "openapi.json is embedded");
  response.body.assign(found->bytes, found->bytes + found->size);
  return response;
}

}  // namespace

Router::Router(const Service& service, RouterOptions options)
    : service_(&service),
      options_(std::move(options)),
      slots_(options_.requests_per_key),
      work_(options_.workers, options_.queue_max) {}

void Router::handle(HttpRequest request, std::shared_ptr<Responder> responder) {
  using Kind = Route::Kind;
  static constexpr std::array kRoutes = {
      Route{"POST", "/v1/chat/completions", Kind::kWork, answer_chat, true},
      Route{"POST", "/chat/completions", Kind::kWork, answer_chat, true},
      Route{"POST", "/v1/completions", Kind::kWork, answer_completion, true},
      Route{"POST", "/tokenize", Kind::kWork, answer_tokenize},
      Route{"POST", "/detokenize", Kind::kWork, answer_detokenize},
      Route{"POST", "/apply-template", Kind::kWork, answer_apply_template},
      Route{"GET", "/v1/models", Kind::kModels},
      Route{"GET", "/models", Kind::kModels},
      Route{"GET", kModelPrefix, Kind::kModel},
      Route{"GET", "/health", Kind::kHealth},
      Route{"GET", "/v1/health", Kind::kHealth},
      Route{"GET", "/metrics", Kind::kMetrics},
      Route{"GET", "/cluster", Kind::kCluster},
      Route{"GET", "/openapi.json", Kind::kOpenApi},
  };
  auto page = web_page(request);
  const std::string_view path = request.path;
  const auto found = std::ranges::find_if(kRoutes, [&](const Route& route) {
    if (route.kind != Kind::kModel) return route.path == path;
    return path.starts_with(route.path) && path.size() > route.path.size();
  });
  RequestRecord record;
  record.id = request.id;
  record.method = request.method;
  record.path = request.path;
  record.peer = request.peer;
  // Paths of strangers must not become labels without end.
  const std::string label(page ? "/" : found == kRoutes.end() ? "other" : found->path);
  auto answer = std::make_shared<RecordedAnswer>(std::move(responder), std::move(record),
                                                 [this, label](const RequestRecord& done) {
                                                   service_->metrics.request(done, label);
                                                   options_.log(done);
                                                 });
  if (page) return answer->send(std::move(*page));
  if (found == kRoutes.end()) return answer->fail(no_such_path(request));
  if (request.method == "OPTIONS") return answer->send(options_of(found->method));
  const bool same =
      request.method == found->method || (request.method == "HEAD" && found->method == "GET");
  if (!same) return answer->send(wrong_method(request, found->method));
  dispatch(*found, std::move(request), std::move(answer));
}

void Router::dispatch(const Route& route, HttpRequest request,
                      std::shared_ptr<RecordedAnswer> answer) {
  if (route.kind != Route::Kind::kWork) return answer->send(info(route, request));
  if (!is_json(request)) {
    return answer->fail({.status = 415,
                         .message = "Unsupported media type: the body must be application/json.",
                         .code = "unsupported_media_type"});
  }
  if (route.generates) {
    const EngineView view = service_->loop.view();
    const HttpResponse state = health(view, Clock::now(), Clock::duration::max());
    // While a lost pipeline is opened again requests wait, for as long as running ones do.
    const bool waits = view.phase == Phase::kRestarting && !view.overdue;
    if (state.status != 200 && !waits) {
      answer->record().error = "not ready";
      return answer->send(state);
    }
    auto place = slots_.take(request.key);
    if (!place) {
      return answer->fail(too_many(fmt::format("Rate limit reached: {} requests of this key are "
                                               "under way, which is its limit.",
                                               options_.requests_per_key),
                                   1));
    }
    answer->hold(std::move(place));
  }
  queue(route.prepare, std::move(request), std::move(answer));
}

void Router::queue(Prepare prepare, HttpRequest request, std::shared_ptr<RecordedAnswer> answer) {
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  const bool taken = work_.push([service = service_, prepare, shared, answer] {
    if (answer->closed()) return;
    const bool large = shared->body.size() > kLargeBody;
    prepare(*service, shared->body, shared->key, answer);
    // The allocator would keep gigabytes of a long text's tokens for this thread's next.
    if (large) return_free_memory();
  });
  if (!taken) answer->fail(too_many("Too many requests wait already.", 1));
}

HttpResponse Router::info(const Route& route, const HttpRequest& request) const {
  HttpResponse response;
  switch (route.kind) {
    case Route::Kind::kModels:
      return json_response(model_list(options_.card, service_->loop.view()));
    case Route::Kind::kModel:
      return model(request.path.substr(kModelPrefix.size()));
    case Route::Kind::kHealth:
      return health(service_->loop.view(), Clock::now(), options_.stall);
    case Route::Kind::kCluster:
      return json_response(cluster_json(options_.card, service_->loop.detailed_view()));
    case Route::Kind::kMetrics:
      response.content_type = kMetricsType;
      response.body = service_->metrics.text(service_->loop.detailed_view(), options_.http());
      return response;
    case Route::Kind::kOpenApi:
      return openapi();
    case Route::Kind::kWork:
      break;
  }
  return response;
}

HttpResponse Router::model(const std::string& path) const {
  const auto& names = service_->rules.model_names;
  if (std::ranges::find(names, path) != names.end()) {
    return json_response(model_json(options_.card, service_->loop.view()));
  }
  return error_response(
      {.status = 404,
       .message = fmt::format("The model '{}' does not exist", path.substr(0, 100)),
       .param = "model",
       .code = "model_not_found"});
}

}  // namespace tandem::server
