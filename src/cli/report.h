#pragma once
// What a command says about ranks and speed, for people and as JSON.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/generation.h"
#include "tandem/pipeline.h"

namespace tandem::cli {

/// One line a rank: who holds which layers.
std::string rank_table(const std::vector<RankInfo>& ranks);
/// Speed and memory after an answer.
std::string speed_lines(const Answer& answer, const std::vector<RankInfo>& ranks);
/// [{"rank", "layers": [first, last), "memory_bytes"}...]
nlohmann::ordered_json ranks_json(const std::vector<RankInfo>& ranks);
/// --json of `generate`.
nlohmann::ordered_json answer_json(const Answer& answer, const std::vector<RankInfo>& ranks);

}  // namespace tandem::cli
