#pragma once
// What `tandem plan` says, for people and as JSON. Pure.

#include <nlohmann/json.hpp>
#include <string>

#include "planner/planner.h"

namespace tandem::cli {

struct PlanReport {
  std::string model;         // its folder's name
  bool has_weights = false;  // else sizes are config.json's
  std::string objective;     // its flag's value
};

std::string plan_text(const PlanReport& report, const planner::Setting& setting,
                      const planner::Proposal& proposal);
/// {"fits", "stages": [{"host", "layers": [first, last), "memory_bytes", "memory_limit_bytes",
/// ...}], "prompt_tps", "decode_tps", "limited_by", "advice", ...}
nlohmann::ordered_json plan_json(const PlanReport& report, const planner::Setting& setting,
                                 const planner::Proposal& proposal);

}  // namespace tandem::cli
