#pragma once
// Each rank's figures for Prometheus.

#include <string>
#include <string_view>
#include <vector>

#include "tandem/pipeline.h"

namespace tandem::server {

/// The lines before a metric's samples, in Prometheus' text format.
void append_metric_head(std::string& out, std::string_view name, std::string_view help,
                        std::string_view type);

/// Load, speed, memory, links and counters, labelled with rank and host.
void append_rank_metrics(std::string& out, const std::vector<RankInfo>& ranks);

}  // namespace tandem::server
