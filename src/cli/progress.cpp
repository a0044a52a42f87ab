#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "cli/values.h"

namespace tandem::cli {
namespace {

constexpr std::size_t kBarCells = 24;
constexpr std::chrono::milliseconds kRedraw{50};

}  // namespace

std::string progress_bar(std::uint64_t done, std::uint64_t total) {
  // A total of 0 is one that is not known yet.
  const double part =
      total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto cells = static_cast<std::size_t>(part * static_cast<double>(kBarCells));
  std::string bar(cells, '=');
  if (cells < kBarCells) bar += '>';
  bar.resize(kBarCells, ' ');
  return fmt::format("loading [{}] {:3.0f} %  {} of {}", bar, part * 100,
                     format_bytes(static_cast<double>(done)),
                     format_bytes(static_cast<double>(total)));
}

LoadingDisplay::LoadingDisplay(Console& console, bool quiet)
    : console_(&console),
      quiet_(quiet),
      terminal_(console.error_is_terminal()),
      next_draw_(Clock::now()) {}

LoadingDisplay::~LoadingDisplay() {
  if (drawn_) console_->note("\r\x1b[K");
}

void LoadingDisplay::update(int rank, std::uint64_t done, std::uint64_t total) {
  if (quiet_) return;
  Loaded& loaded = ranks_[rank];
  loaded.done = done;
  loaded.total = total;
  if (!terminal_) {
    if (total == 0 || done < total || loaded.reported) return;
    loaded.reported = true;
    console_->note(
        fmt::format("rank {}: loaded {}\n", rank, format_bytes(static_cast<double>(total))));
    return;
  }
  if (Clock::now() < next_draw_) return;
  next_draw_ = after(kRedraw);
  std::uint64_t all_done = 0;
  std::uint64_t all = 0;
  for (const auto& [id, one] : ranks_) {
    all_done += one.done;
    all += one.total;
  }
  console_->note(fmt::format("\r{}\x1b[K", progress_bar(all_done, all)));
  drawn_ = true;
}

}  // namespace tandem::cli
