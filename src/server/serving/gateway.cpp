#include "server/serving/gateway.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <iterator>
#include <mutex>
#include <random>
#include <utility>

#include "server/http/server.h"
#include "server/serving/metrics.h"
#include "server/serving/model_text.h"
#include "server/serving/router.h"
#include "server/serving/service.h"
#include "server/web/web_page.h"

namespace tandem::server {
namespace {

/// For answers that ended when the model did, to reach their clients.
constexpr std::chrono::seconds kLastBytes{2};

/// FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/).
std::uint64_t fnv(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

/// Random bits from any thread.
class Random {
 public:
  std::uint64_t operator()() {
    const std::lock_guard lock(mutex_);
    return (std::uint64_t{device_()} << 32) | device_();
  }

 private:
  std::mutex mutex_;
  std::random_device device_;
};

Result<RequestRules> make_rules(const GatewayOptions& options, const ModelText& text) {
  RequestRules rules;
  rules.limits = options.limits;
  auto sampling = recommended_sampling(options.folder);
  if (!sampling) return sampling.error();
  rules.defaults = *sampling;
  rules.defaults.temperature = options.temperature.value_or(rules.defaults.temperature);
  rules.defaults.top_p = options.top_p.value_or(rules.defaults.top_p);
  rules.defaults.top_k = options.top_k.value_or(rules.defaults.top_k);
  rules.defaults.min_p = options.min_p.value_or(rules.defaults.min_p);
  rules.chat_max_tokens = options.chat_max_tokens;
  rules.vocabulary = text.vocabulary();
  rules.model_names = options.model_names;
  // Tools whose calls nobody would read are as good as none.
  rules.template_tools = text.template_takes_tools() && text.format().tools != ToolSyntax::kNone;
  rules.template_reasoning_effort = text.template_reads("reasoning_effort", "\"low\"", "\"high\"");
  rules.template_enable_thinking = text.template_reads("enable_thinking", "true", "false");
  return rules;
}

}  // namespace

struct Gateway::Impl {
  Impl(GatewayOptions given, ModelText model, RequestRules checked)
      : options(std::move(given)),
        text(std::move(model)),
        rules(std::move(checked)),
        loop(options.engine),
        service{text,
                rules,
                loop,
                metrics,
                fmt::format("fp_{:010x}",
                            fnv(options.version + "\n" + options.model_names.front()) >> 24),
                [this] { return random(); },
                [] { return std::time(nullptr); },
                options.log_prompts},
        router(service, router_options()) {}

  RouterOptions router_options() {
    RouterOptions out;
    out.card = {options.model_names.front(), static_cast<std::int64_t>(std::time(nullptr)),
                rules.vocabulary};
    out.requests_per_key = options.requests_per_key;
    out.queue_max = options.engine.waiting_max;
    out.log = options.log;
    out.http = [this] { return http ? http->counters() : HttpCounters{}; };
    return out;
  }

  GatewayOptions options;
  ModelText text;
  RequestRules rules;
  Random random;
  Metrics metrics;
  EngineLoop loop;
  Service service;
  Router router;
  std::mutex mutex;
  std::condition_variable ended;
  bool running = true;
  std::unique_ptr<HttpServer> http;  // last: its threads use all the others
};

Gateway::Gateway(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Gateway::~Gateway() {
  if (impl_->http) impl_->http->stop(after(kLastBytes));
}

Result<std::unique_ptr<Gateway>> Gateway::start(GatewayOptions options) {
  auto text = ModelText::load(options.folder);
  if (!text) return text.error();
  auto rules = make_rules(options, *text);
  if (!rules) return rules.error();
  HttpOptions http = options.http;
  http.on_refusal = options.log_refusal;
  std::ranges::move(web_paths(), std::back_inserter(http.open_paths));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(*text), std::move(*rules));
  auto server = HttpServer::start(
      std::move(http),
      [router = &impl->router](HttpRequest request, std::shared_ptr<Responder> to) {
        router->handle(std::move(request), std::move(to));
      });
  if (!server) return server.error();
  impl->http = std::move(*server);
  return std::unique_ptr<Gateway>(new Gateway(std::move(impl)));
}

Status Gateway::run(const EngineLoop::Open& open, const std::function<void()>& loaded) {
  const Status status = impl_->loop.run(open, loaded);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->running = false;
  }
  impl_->ended.notify_all();
  return status;
}

void Gateway::drain(std::chrono::milliseconds patience) {
  impl_->http->drain();
  impl_->loop.drain();
  std::unique_lock lock(impl_->mutex);
  impl_->ended.wait_for(lock, patience, [this] { return !impl_->running; });
  lock.unlock();
  impl_->loop.stop();
}

std::string Gateway::url() const { return impl_->http->url(); }
EngineView Gateway::view() const { return impl_->loop.detailed_view(); }

}  // namespace tandem::server
