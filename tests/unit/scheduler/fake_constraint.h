#pragma once
// A constraint whose allowed tokens follow a simple rule.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "scheduler/constraint.h"

namespace tandem::scheduler {

struct FakeRule {
  int phase = 0;      // the k-th token is allowed if (id + phase + k) % 3 == 0
  int length = 0;     // tokens of a complete output; 0: never complete
  int fails_at = -1;  // which allowed() fails; -1: none
};

class FakeConstraint final : public TokenConstraint {
 public:
  explicit FakeConstraint(FakeRule rule, std::int32_t vocabulary = 1000)
      : rule_(rule), vocabulary_(vocabulary) {}

  Result<std::vector<std::uint32_t>> allowed() override {
    if (rule_.fails_at == taken_) return Error{ErrorCode::kInternal, "the grammar is stuck"};
    std::vector<std::uint32_t> bits((static_cast<std::size_t>(vocabulary_) + 31) / 32);
    for (std::int32_t id = 0; id < vocabulary_; ++id) {
      if (may(id)) bits[static_cast<std::size_t>(id) / 32] |= 1U << (id % 32);
    }
    return bits;
  }
  Status accept(std::int32_t token) override {
    if (!may(token)) return Error{ErrorCode::kInternal, "the token was not allowed"};
    ++taken_;
    return {};
  }
  bool complete() const override { return rule_.length > 0 && taken_ >= rule_.length; }

 private:
  bool may(std::int32_t id) const { return (id + rule_.phase + taken_) % 3 == 0; }

  FakeRule rule_;
  std::int32_t vocabulary_;
  int taken_ = 0;
};

}  // namespace tandem::scheduler
