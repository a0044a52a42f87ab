#include "kernels/isa.h"

#include <array>
#include <string>

namespace tandem::kernels {
namespace {

struct Name {
  Isa isa;
  std::string_view text;
};

constexpr std::array<Name, 5> kNames = {{{Isa::kBest, "best"},
                                         {Isa::kAvx512Vnni, "avx512vnni"},
                                         {Isa::kAvx2, "avx2"},
                                         {Isa::kNeon, "neon"},
                                         {Isa::kPortable, "portable"}}};

#if defined(__x86_64__)
// What cmake/Tandem.cmake lets the compiler use for avx2.
[[maybe_unused]] bool cpu_has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("aes") &&
         __builtin_cpu_supports("pclmul");
}

// The same for avx512.
[[maybe_unused]] bool cpu_has_avx512() {
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512ifma") &&
         __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq") &&
         __builtin_cpu_supports("gfni") && __builtin_cpu_supports("vaes") &&
         __builtin_cpu_supports("vpclmulqdq");
}
#endif

}  // namespace

std::string_view isa_name(Isa isa) {
  for (const Name& name : kNames) {
    if (name.isa == isa) return name.text;
  }
  return "unknown";
}

std::optional<Isa> isa_from_name(std::string_view name) {
  for (const Name& known : kNames) {
    if (known.text == name) return known.isa;
  }
  return std::nullopt;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
#if defined(__x86_64__) && defined(TANDEM_ISA_avx512)
  if (cpu_has_avx512()) isas.push_back(Isa::kAvx512Vnni);
#endif
#if defined(__x86_64__) && defined(TANDEM_ISA_avx2)
  if (cpu_has_avx2()) isas.push_back(Isa::kAvx2);
#endif
#if defined(TANDEM_ISA_neon)
  isas.push_back(Isa::kNeon);
#endif
  isas.push_back(Isa::kPortable);
  return isas;
}

Result<Isa> resolve_isa(Isa wanted) {
  const std::vector<Isa> available = available_isas();
  if (wanted == Isa::kBest) return available.front();
  std::string names;
  for (const Isa isa : available) {
    if (isa == wanted) return isa;
    if (!names.empty()) names += ", ";
    names += isa_name(isa);
  }
  return invalid("cpu-isa " + std::string(isa_name(wanted)) +
                 ": not available on this machine; it has " + names);
}

}  // namespace tandem::kernels
