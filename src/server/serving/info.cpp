#include "server/serving/info.h"

#include <fmt/format.h>

#include <utility>

#include "server/api/reply_format.h"

namespace tandem::server {
namespace {

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::kLoading:
      return "loading";
    case Phase::kReady:
      return "ok";
    case Phase::kRestarting:
      return "restarting";
    case Phase::kDraining:
      return "draining";
    case Phase::kDead:
      return "dead";
  }
  return "";
}

bool is_loading(Phase phase) { return phase == Phase::kLoading || phase == Phase::kRestarting; }

HttpResponse unhealthy(std::string_view status, const EngineView& view, const std::string& why) {
  Json body = {{"status", status}};
  if (is_loading(view.phase)) {
    body["loaded_bytes"] = view.loaded_bytes;
    body["total_bytes"] = view.total_bytes;
  }
  body["error"] = Json::parse(error_body(unavailable(why, 0)))["error"];
  HttpResponse response;
  response.status = 503;
  response.body = dump(body);
  response.headers.push_back({"Retry-After", "1"});
  return response;
}

/// A link that there is not, or that was not timed yet, is left out.
Json rank_json(const RankInfo& rank) {
  const RankState& state = rank.state;
  Json out = {{"rank", rank.rank},
              {"host", rank.host},
              {"device", rank.device},
              {"layers", {rank.stage.layers.first, rank.stage.layers.last}},
              {"layer_count", rank.stage.layer_count},
              {"weight_bytes", rank.stage.weight_bytes},
              {"memory_bytes", state.resident_bytes},
              {"memory_free_bytes", state.memory_free_bytes},
              {"kv_bytes", state.kv_bytes},
              {"kv_bytes_max", rank.stage.kv_bytes_max},
              {"load", state.rates.load},
              {"waiting", state.rates.waiting},
              {"tps", state.rates.tokens_per_second},
              {"ticks_per_second", state.rates.ticks_per_second},
              {"sent_bytes_per_second", state.rates.sent_bytes_per_second}};
  if (state.link_ms) out["link_ms"] = *state.link_ms;
  if (state.return_ms) out["return_ms"] = *state.return_ms;
  if (state.heartbeat_ms) out["heartbeat_ms"] = *state.heartbeat_ms;
  return out;
}

}  // namespace

Json model_json(const ModelCard& card, const EngineView& view) {
  Json out = {
      {"id", card.id}, {"object", "model"}, {"created", card.created}, {"owned_by", "tandem"}};
  Json meta = {{"n_vocab", card.vocabulary}};
  if (view.context_max > 0) meta["n_ctx"] = view.context_max;
  out["meta"] = std::move(meta);
  return out;
}

Json model_list(const ModelCard& card, const EngineView& view) {
  Json data = Json::array();
  data.push_back(model_json(card, view));
  return {{"object", "list"}, {"data", std::move(data)}};
}

HttpResponse health(const EngineView& view, Clock::time_point now, Clock::duration stall) {
  if (is_loading(view.phase)) {
    const double part = view.total_bytes == 0 ? 0
                                              : static_cast<double>(view.loaded_bytes) * 100 /
                                                    static_cast<double>(view.total_bytes);
    const std::string_view again = view.phase == Phase::kLoading ? "" : " again";
    const std::string why =
        view.reason.empty()
            ? fmt::format("The model is loading{}: {:.0f} %.", again, part)
            : fmt::format("The model is loading{} ({:.0f} %): {}", again, part, view.reason);
    return unhealthy(phase_name(view.phase), view, why);
  }
  if (view.phase == Phase::kDead) return unhealthy("dead", view, view.reason);
  if (view.phase == Phase::kDraining) return unhealthy("draining", view, "The server is stopping.");
  if (view.busy && now - view.progress > stall) {
    const auto seconds = std::chrono::duration<double>(now - view.progress).count();
    return unhealthy("stalled", view, fmt::format("No step has finished for {:.0f} s.", seconds));
  }
  HttpResponse response;
  response.body = R"({"status":"ok"})";
  return response;
}

Json cluster_json(const ModelCard& card, const EngineView& view) {
  Json ranks = Json::array();
  for (const RankInfo& rank : view.ranks) {
    ranks.push_back(rank_json(rank));
  }
  Json out = {{"model", card.id}, {"status", phase_name(view.phase)}};
  if (!view.reason.empty()) out["reason"] = view.reason;
  if (is_loading(view.phase)) {
    out["loaded_bytes"] = view.loaded_bytes;
    out["total_bytes"] = view.total_bytes;
  }
  out["context"] = view.context_max;
  out["ranks"] = std::move(ranks);
  out["requests"] = {{"running", view.stats.running}, {"waiting", view.waiting}};
  out["kv"] = {{"used", view.stats.kv_tokens_used}, {"capacity", view.stats.kv_tokens_capacity}};
  out["prompt_tps"] = view.prompt_tps;
  out["decode_tps"] = view.decode_tps;
  out["restarts"] = view.restarts;
  return out;
}

}  // namespace tandem::server
