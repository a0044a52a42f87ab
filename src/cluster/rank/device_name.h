#pragma once
// What a stage computes on, for people.

#include <string>

#include "stage/stage.h"

namespace tandem::cluster {

/// "CPU (avx512vnni), 2 threads", "CPU (MLX)", "GPU".
std::string device_name(const stage::StageOptions& options);

}  // namespace tandem::cluster
