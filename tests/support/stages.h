#pragma once
// A pipeline of stages in the test's own process.

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "stage/stage.h"

namespace tandem::testing {

/// Runs ticks through stages one after the other, as the pipeline does.
class Stages {
 public:
  /// cuts: layer numbers where a new stage begins, ascending; empty: one stage.
  Stages(stage::StageOptions options, std::vector<int> cuts, int layers) {
    cuts.insert(cuts.begin(), 0);
    cuts.push_back(layers);
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      options.layers = {cuts[i], cuts[i + 1]};
      auto loaded = stage::Stage::load(options, [](std::uint64_t, std::uint64_t) {});
      EXPECT_TRUE(loaded.ok()) << loaded.error().message;
      if (loaded.ok()) stages_.push_back(std::move(*loaded));
    }
  }

  Result<TickResult> run(Tick tick) {
    stage::Hidden hidden;
    for (auto& each : stages_) {
      auto output = each->run(tick, hidden);
      if (!output.ok()) return output.error();
      if (output->result) return std::move(*output->result);
      hidden = std::move(*output->hidden);
      for (const stage::Refusal& refusal : output->refusals) {
        tick.entries[refusal.entry].refused = refusal.error;
      }
    }
    return Error{ErrorCode::kInternal, "no stage gave a result"};
  }

  stage::Stage& at(std::size_t i) { return *stages_.at(i); }
  std::size_t size() const { return stages_.size(); }

 private:
  std::vector<std::unique_ptr<stage::Stage>> stages_;
};

}  // namespace tandem::testing
