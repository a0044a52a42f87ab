#include "cluster/gateway/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cluster/gateway/local_worker.h"
#include "cluster/gateway/placement.h"
#include "cluster/gateway/ring_members.h"
#include "cluster/split/model_shape.h"
#include "cluster/trust/security.h"

namespace tandem::cluster {

Result<Survey> survey_hosts(const PipelineOptions& options) {
  if (options.hosts.size() > planner::kMachinesMax) {
    return invalid(fmt::format("at most {} hosts can be planned, not {}", planner::kMachinesMax,
                               options.hosts.size()));
  }
  auto credentials = read_security(options.security);
  if (!credentials) return credentials.error();
  LocalWorkers none;
  const auto members = gather(options, none, *credentials);
  if (!members) return members.error();
  PipelineOptions own = options;
  choose_activations(*members, own);
  const bool gpu = std::ranges::any_of(*members, &Member::gpu);
  const bool cpu = !std::ranges::all_of(*members, &Member::gpu);
  auto model = model_for(own.stage, cpu, gpu);
  if (!model) return model.error();
  Survey survey{
      inventory_of(*members, options.work.objective), std::move(*model), measured_efficiency(), {}};
  for (const Member& member : *members) {
    survey.measured.push_back(!member.gpu && member.read_rate != 0);
  }
  return survey;
}

}  // namespace tandem::cluster
