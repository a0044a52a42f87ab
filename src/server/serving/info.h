#pragma once
// Answers about the server itself: pure functions of what is known.

#include <cstdint>
#include <string>

#include "server/api/fields.h"
#include "server/http/exchange.h"
#include "server/serving/engine_loop.h"
#include "server/serving/model_text.h"

namespace tandem::server {

/// What clients are told of the model.
struct ModelCard {
  std::string id;
  std::int64_t created = 0;  // seconds since 1970
  std::int32_t vocabulary = 0;
};

Json model_json(const ModelCard& card, const EngineView& view);
Json model_list(const ModelCard& card, const EngineView& view);

/// 200 {"status": "ok"}, or 503 with the reason: loading or restarting (with bytes), dead,
/// stopping, or no step finished within `stall` although there is work.
HttpResponse health(const EngineView& view, Clock::time_point now, Clock::duration stall);

/// Who holds what, and how busy they are; see docs/api.md.
Json cluster_json(const ModelCard& card, const EngineView& view);

}  // namespace tandem::server
