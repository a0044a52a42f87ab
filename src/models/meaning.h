#pragma once
// What a config.json means, as text.

#include <string>

#include "config/model_config.h"
#include "models/architecture.h"

namespace tandem::models {

/// Everything that decides what weights of given names compute: the architecture, the stored type,
/// the quantization. Two configs with the same text are the same to this program, whatever else
/// their files say.
std::string meaning(const config::ModelConfig& config, const Architecture& model);

}  // namespace tandem::models
