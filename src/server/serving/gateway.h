#pragma once
// The server as a whole: HTTP in front of one engine.

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/api/request_rules.h"
#include "server/http/options.h"
#include "server/serving/engine_loop.h"
#include "server/serving/request_record.h"
#include "tandem/error.h"

namespace tandem::server {

struct GatewayOptions {
  std::filesystem::path folder;          // of the model
  std::vector<std::string> model_names;  // the first is the model's id
  std::string version;                   // of the program
  HttpOptions http;
  RequestLimits limits;
  EngineLoopOptions engine;
  /// In place of what the model's authors recommend.
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int> top_k;
  std::optional<float> min_p;
  int chat_max_tokens = 0;   // default of chats; 0: until the context is full
  int requests_per_key = 0;  // under way at once; 0: no limit
  bool log_prompts = false;
  std::function<void(const RequestRecord&)> log;    // from any thread
  std::function<void(const Refusal&)> log_refusal;  // from any thread
};

/// Listens from start() on, and answers 503 until run() has loaded the model.
class Gateway {
 public:
  /// Reads the model's texts and listens. Fails before anything is loaded: a file of the model, an
  /// address in use.
  static Result<std::unique_ptr<Gateway>> start(GatewayOptions options);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Loads the pipeline and works until drain() is done, on the calling thread; see EngineLoop.
  Status run(const EngineLoop::Open& open, const std::function<void()>& loaded);
  /// No new requests; those there are may end until `patience` is over. Returns when run() may end.
  /// From another thread than run()'s.
  void drain(std::chrono::milliseconds patience);

  std::string url() const;
  EngineView view() const;

 private:
  struct Impl;
  explicit Gateway(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::server
