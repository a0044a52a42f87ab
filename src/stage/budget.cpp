#include "stage/budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "config/sizes.h"
#include "tandem/limits.h"

namespace tandem::stage {
namespace {

constexpr std::uint64_t kLeastMargin = std::uint64_t{12} << 20;

std::string size(std::uint64_t bytes) { return config::format_bytes(static_cast<double>(bytes)); }

std::uint64_t minus(std::uint64_t from, std::uint64_t what) { return from - std::min(from, what); }

std::uint64_t margin_of(std::uint64_t memory) { return std::max(kLeastMargin, memory / 20); }

/// What weights, steps and margin leave.
std::uint64_t left_for_kv(const models::ModelBytes& model, LayerRange range, std::uint64_t memory,
                          std::uint32_t rows) {
  return minus(minus(memory, margin_of(memory)), models::needs_of(model, range, rows).fixed());
}

}  // namespace

std::uint64_t least_memory(const models::ModelBytes& model, LayerRange range, std::uint32_t rows) {
  const models::MemoryNeeds needs = models::needs_of(model, range, rows);
  const std::uint64_t bytes = needs.fixed() + needs.least_kept();
  return std::max(bytes + kLeastMargin, bytes + bytes / 19 + 1);  // whose twentieth is the margin
}

Result<std::uint64_t> kv_budget(const models::ModelBytes& model, LayerRange range,
                                std::uint64_t memory, std::uint64_t kv_bytes, std::uint32_t rows) {
  const models::MemoryNeeds needs = models::needs_of(model, range, rows);
  const std::uint64_t least_kept = needs.least_kept();
  if (kv_bytes != 0 && kv_bytes < least_kept) {
    return Error{
        ErrorCode::kResourceLimit,
        fmt::format("KV memory: {} hold not even {} tokens, which take {}: {}", size(kv_bytes),
                    kPageTokens, size(least_kept),
                    needs.state == 0 ? "--kv-bits 8 would help"
                                     : fmt::format("the state of a sequence alone takes {}",
                                                   size(needs.state)))};
  }
  const std::uint64_t left = left_for_kv(model, range, memory, rows);
  if (left < least_kept) {
    const std::uint64_t least = least_memory(model, range, rows);
    return Error{
        ErrorCode::kResourceLimit,
        fmt::format("memory: {} are needed and {} are free, {} too few: weights {} ({} "
                    "more while they load), a step of {} tokens {}, KV of {} tokens {}; "
                    "one more rank or host would help",
                    size(least), size(memory), size(minus(least, memory)), size(needs.weights),
                    size(needs.loading), rows, size(needs.step), kPageTokens, size(least_kept))};
  }
  if (kv_bytes != 0) return std::min(kv_bytes, left);
  return std::max(least_kept, left / 5 * 4);
}

std::uint32_t fitting_rows(const models::ModelBytes& model, LayerRange range, std::uint64_t memory,
                           std::uint64_t kv_bytes, std::uint32_t rows) {
  const models::MemoryNeeds needs = models::needs_of(model, range, 1);
  const std::uint64_t useful = kUsefulTokens / kPageTokens * needs.kv_page + needs.state;
  const std::uint64_t wanted = kv_bytes != 0 ? std::min(kv_bytes, useful) : useful;
  while (rows > kLeastRows && left_for_kv(model, range, memory, rows) < wanted) {
    rows = std::max(rows / 2, kLeastRows);
  }
  return rows;
}

}  // namespace tandem::stage
