#pragma once
// A place for the pipeline of the moment, which may fail and be opened anew.

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "tandem/error.h"
#include "tandem/pipeline.h"

namespace tandem::server {

/// Passes everything on to the pipeline in it. One thread fills, empties and works with it; ranks()
/// may be asked by any, and says what was last known while the slot is empty.
class PipelineSlot final : public Pipeline {
 public:
  void put(std::unique_ptr<Pipeline> pipeline);
  /// Destroys the pipeline.
  void clear();

  std::vector<RankInfo> ranks() override;
  int stages() const override;
  /// kUnavailable while the slot is empty, as next().
  Status submit(Tick tick) override;
  Result<TickResult> next(Deadline deadline) override;
  std::optional<Error> failure() override;

 private:
  std::unique_ptr<Pipeline> pipeline_;  // changed under the mutex
  std::mutex mutex_;
  std::vector<RankInfo> last_;
};

}  // namespace tandem::server
