#pragma once
// Which instruction sets this CPU has, and their names on the command line.

#include <optional>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::kernels {

/// The instruction set of our loops. kBest: the best this CPU has.
enum class Isa { kBest, kAvx512Vnni, kAvx2, kNeon, kPortable };

/// "best", "avx512vnni", "avx2", "neon", "portable".
std::string_view isa_name(Isa isa);
std::optional<Isa> isa_from_name(std::string_view name);

/// The sets that this CPU has and this build has loops for, best first; kPortable is always last.
std::vector<Isa> available_isas();
/// kBest becomes the first of available_isas(); any other is checked and refused by name.
Result<Isa> resolve_isa(Isa wanted);

}  // namespace tandem::kernels
