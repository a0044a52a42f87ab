#pragma once
// What `tandem plan` says, for people and as JSON. Pure.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "planner/planner.h"

namespace tandem::cli {

struct PlanReport {
  std::string model;                // its folder's name
  bool has_weights = false;         // else sizes are config.json's
  std::string objective;            // its flag's value
  std::vector<bool> measured = {};  // of hosts that were asked: else usual figures stand
};

std::string plan_text(const PlanReport& report, const planner::Setting& setting,
                      const planner::Plan& plan);
/// {"fits", "stages": [{"host", "layers": [first, last), "memory_bytes", "memory_limit_bytes",
/// ...}], "prompt_tps", "decode_tps", "limited_by", "advice", ...}
nlohmann::ordered_json plan_json(const PlanReport& report, const planner::Setting& setting,
                                 const planner::Plan& plan);

}  // namespace tandem::cli
