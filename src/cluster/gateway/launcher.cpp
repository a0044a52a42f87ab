#include "cluster/gateway/launcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "cluster/gateway/local_pipeline.h"
#include "cluster/gateway/remote_pipeline.h"
#include "cluster/timing.h"
#include "cluster/trust/credentials.h"

namespace tandem::cluster {
namespace {

// Who gets no work is named by the caller's numbers, and in the same words at every try.
Error resting_error(const std::string& who) {
  return {ErrorCode::kUnavailable,
          fmt::format("{} died too often within {} s and gets no work for {} s", who,
                      timing::kDeathsWithin.count(), timing::kQuarantine.count())};
}

// Whether ranks may be other ones than the caller named.
bool is_fixed(const PipelineOptions& options) {
  return !options.layers.empty() || !options.gpus.empty() ||
         std::ranges::any_of(options.hosts,
                             [](const auto& host) { return host.layers.has_value(); });
}

}  // namespace

// The first epoch is random, so that a frame of another gateway's ring is never one of ours; the
// highest bits are left for counting.
Launcher::Launcher(std::function<void(const std::string& line)> note) : note_(std::move(note)) {
  name_.name = make_nonce();
  std::memcpy(&name_.epoch, make_nonce().data(), sizeof name_.epoch);
  name_.epoch >>= 2;
}

Result<std::unique_ptr<Pipeline>> Launcher::open(const PipelineOptions& options,
                                                 const RankProgress& progress) {
  if (options.ranks < 1) return invalid("--ranks must be at least 1");
  if (options.hosts.empty() && options.ranks == 1) {
    stage::StageOptions alone = options.stage;
    alone.layers = options.layers.empty() ? LayerRange{} : options.layers.front();
    return local_pipeline(alone, progress);
  }
  ++name_.epoch;
  std::vector<config::Host> kept;
  std::string who;
  const std::size_t count =
      options.hosts.empty() ? static_cast<std::size_t>(options.ranks) : options.hosts.size();
  for (std::size_t rank = 0; rank < count; ++rank) {
    const std::string place = place_of(static_cast<int>(rank), options.hosts);
    if (standing_.quarantine.holds(place, Clock::now())) {
      who += (who.empty() ? "" : ", ") + place;
    } else if (!options.hosts.empty()) {
      kept.push_back(options.hosts[rank]);
    }
  }
  if (who.empty()) return open_remote_pipeline(options, name_, standing_, note_, progress);
  return open_without(options, kept, resting_error(who), progress);
}

Result<std::unique_ptr<Pipeline>> Launcher::open_without(const PipelineOptions& options,
                                                         const std::vector<config::Host>& kept,
                                                         const Error& resting,
                                                         const RankProgress& progress) {
  if (kept.empty() || is_fixed(options)) return resting;
  PipelineOptions fewer = options;
  fewer.hosts = kept;
  auto opened = open_remote_pipeline(fewer, name_, standing_, note_, progress);
  if (opened && note_) note_(resting.message + ": the model runs without it");
  if (opened || opened.error().code != ErrorCode::kResourceLimit) return opened;
  return Error{resting.code, resting.message + "; without it: " + opened.error().message};
}

void exit_process(int code) {
  std::fflush(nullptr);
  std::_Exit(code);
}

}  // namespace tandem::cluster
