#pragma once
// How far loading is: a bar on a terminal, a line a rank elsewhere.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "cli/console.h"
#include "tandem/deadline.h"

namespace tandem::cli {

/// The bar's text, without line end: "loading [=====>    ]  55 %  337 MB of 612 MB". Pure.
std::string progress_bar(std::uint64_t done, std::uint64_t total);

/// Draws the loading of all ranks. Called from one thread; `console` outlives it.
class LoadingDisplay {
 public:
  /// quiet: shows nothing.
  LoadingDisplay(Console& console, bool quiet);
  /// Clears the bar.
  ~LoadingDisplay();
  LoadingDisplay(const LoadingDisplay&) = delete;
  LoadingDisplay& operator=(const LoadingDisplay&) = delete;

  void update(int rank, std::uint64_t done, std::uint64_t total);

 private:
  struct Loaded {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    bool reported = false;
  };

  Console* console_;
  bool quiet_;
  bool terminal_;
  bool drawn_ = false;
  Deadline next_draw_;
  std::map<int, Loaded> ranks_;
};

}  // namespace tandem::cli
