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
    case Phase::kDraining:
      return "draining";
    case Phase::kDead:
      return "dead";
  }
  return "";
}

HttpResponse unhealthy(std::string_view status, const EngineView& view, const std::string& why) {
  Json body = {{"status", status}};
  if (view.phase == Phase::kLoading) {
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
  if (view.phase == Phase::kLoading) {
    const double part = view.total_bytes == 0 ? 0
                                              : static_cast<double>(view.loaded_bytes) * 100 /
                                                    static_cast<double>(view.total_bytes);
    return unhealthy("loading", view, fmt::format("The model is loading: {:.0f} %.", part));
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
  for (const cluster::RankInfo& rank : view.ranks) {
    ranks.push_back({{"rank", rank.rank},
                     {"host", rank.host},
                     {"layers", {rank.stage.layers.first, rank.stage.layers.last}},
                     {"layer_count", rank.stage.layer_count},
                     {"weight_bytes", rank.stage.weight_bytes},
                     {"memory_bytes", rank.memory_bytes}});
  }
  Json out = {{"model", card.id}, {"status", phase_name(view.phase)}};
  if (view.phase == Phase::kDead) out["reason"] = view.reason;
  if (view.phase == Phase::kLoading) {
    out["loaded_bytes"] = view.loaded_bytes;
    out["total_bytes"] = view.total_bytes;
  }
  out["context"] = view.context_max;
  out["ranks"] = std::move(ranks);
  out["requests"] = {{"running", view.stats.running}, {"waiting", view.waiting}};
  out["kv"] = {{"used", view.stats.kv_tokens_used}, {"capacity", view.stats.kv_tokens_capacity}};
  out["prompt_tps"] = view.prompt_tps;
  out["decode_tps"] = view.decode_tps;
  return out;
}

}  // namespace tandem::server
