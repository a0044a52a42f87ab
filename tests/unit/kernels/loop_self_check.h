#pragma once
// All checks of row, recurrent and attention loops in one call, for CPUs that only an emulator
// offers here.

#include <cstdio>

#include "attention_checks.h"
#include "kernels/cpu/loops.h"
#include "recurrent_checks.h"
#include "row_checks.h"

namespace tandem::kernels {

/// Prints what fails; true when nothing does.
inline bool loops_pass(const char* name, const Loops& all) {
  bool pass = true;
  const auto expect = [&](bool good, const std::string& what) {
    if (!good) std::printf("%s: %s fails\n", name, what.c_str());
    pass = pass && good;
  };
  for (const DType element : {DType::kF32, DType::kBF16}) {
    const RowLoops& loops = all.rows[element];
    const std::string type = element == DType::kBF16 ? " bf16" : " f32";
    for (const auto act :
         {GatedActivation::kSwiGlu, GatedActivation::kGeGluTanh, GatedActivation::kGeGlu}) {
      expect(check_gated(loops, element, act, 1) <= 1, "gated" + type);
    }
    expect(check_softcap(loops, element, 2) <= 1, "softcap" + type);
    expect(check_add(loops, element, 3) <= 1, "add" + type);
    expect(check_scale(loops, element, 4) <= 1, "scale" + type);
    expect(check_rms_norm(loops, element, 5) <= 1, "rms_norm" + type);
    expect(check_gated_rms_norm(loops, element, 10) <= 1, "gated rms_norm" + type);
    expect(check_gate(loops, element, 11) <= 1, "gate" + type);
    expect(check_rope(loops, element, false, 6) <= 1, "rope" + type);
    expect(check_rope(loops, element, true, 7) <= 1, "interleaved rope" + type);
    for (const RecurrentCase& c : kRecurrentCases) {
      expect(check_recurrent(all.recurrent[element], c, element, 12) <= 1, "recurrent" + type);
    }
    for (const AttentionCase& c : attention_cases()) {
      expect(check_attention(all.attention, c, element, 8) <= 1, "attention " + c.name + type);
      if (element == DType::kF32) {
        expect(chunks_agree(all.attention, c, element, 9), "bits of attention " + c.name);
      }
    }
  }
  expect(check_rope_angles(all.rows[DType::kF32]) <= 1, "rope angles");
  return pass;
}

}  // namespace tandem::kernels
