#pragma once
// All checks of row and attention loops in one call, for CPUs that only an emulator offers here.

#include <cstdio>

#include "attention_checks.h"
#include "row_checks.h"

namespace tandem::kernels {

/// Prints what fails; true when nothing does.
inline bool loops_pass(const char* name, const RowTable& rows, const AttentionLoops& attention) {
  bool pass = true;
  const auto expect = [&](bool good, const std::string& what) {
    if (!good) std::printf("%s: %s fails\n", name, what.c_str());
    pass = pass && good;
  };
  for (const Element element : {Element::kF32, Element::kBF16}) {
    const RowLoops& loops = rows[element];
    const std::string type = element == Element::kBF16 ? " bf16" : " f32";
    for (const auto act :
         {GatedActivation::kSwiGlu, GatedActivation::kGeGluTanh, GatedActivation::kGeGlu}) {
      expect(check_gated(loops, element, act, 1) <= 1, "gated" + type);
    }
    expect(check_softcap(loops, element, 2) <= 1, "softcap" + type);
    expect(check_add(loops, element, 3) <= 1, "add" + type);
    expect(check_scale(loops, element, 4) <= 1, "scale" + type);
    expect(check_rms_norm(loops, element, 5) <= 1, "rms_norm" + type);
    expect(check_rope(loops, element, false, 6) <= 1, "rope" + type);
    expect(check_rope(loops, element, true, 7) <= 1, "interleaved rope" + type);
    for (const AttentionCase& c : attention_cases()) {
      expect(check_attention(attention, c, element, 8) <= 1, "attention " + c.name + type);
      if (element == Element::kF32) {
        expect(chunks_agree(attention, c, element, 9), "bits of attention " + c.name);
      }
    }
  }
  expect(check_rope_angles(rows[Element::kF32]) <= 1, "rope angles");
  return pass;
}

}  // namespace tandem::kernels
