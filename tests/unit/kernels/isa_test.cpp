#include "kernels/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace tandem::kernels {
namespace {

constexpr Isa kAll[] = {Isa::kBest, Isa::kAvx512Vnni, Isa::kAvx2, Isa::kNeon, Isa::kPortable};

TEST(IsaNames, ReadBackAsTheSameSet) {
  for (const Isa isa : kAll) EXPECT_EQ(isa_from_name(isa_name(isa)), isa);
  EXPECT_EQ(isa_from_name("sse9"), std::nullopt);
  EXPECT_EQ(isa_from_name(""), std::nullopt);
}

TEST(IsaChoice, PortableIsAlwaysAvailableAndLast) {
  EXPECT_EQ(available_isas().back(), Isa::kPortable);
}

TEST(IsaChoice, BestIsTheFirstAvailable) {
  const Result<Isa> best = resolve_isa(Isa::kBest);
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(*best, available_isas().front());
}

TEST(IsaChoice, AvailableSetsResolveToThemselvesAndOthersAreRefusedByName) {
  const std::vector<Isa> available = available_isas();
  for (const Isa isa : kAll) {
    if (isa == Isa::kBest) continue;
    const Result<Isa> resolved = resolve_isa(isa);
    if (std::find(available.begin(), available.end(), isa) != available.end()) {
      ASSERT_TRUE(resolved.ok());
      EXPECT_EQ(*resolved, isa);
    } else {
      ASSERT_FALSE(resolved.ok());
      EXPECT_EQ(resolved.error().code, ErrorCode::kInvalidArgument);
      EXPECT_THAT(resolved.error().message, testing::HasSubstr(std::string(isa_name(isa))));
      EXPECT_THAT(resolved.error().message, testing::HasSubstr("portable"));
    }
  }
}

}  // namespace
}  // namespace tandem::kernels
