#include "scheduler/prefix_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tandem::scheduler {
namespace {

std::uint32_t common_length(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::uint32_t>(end - a.begin());
}

}  // namespace

std::vector<PrefixIndex::List>::const_iterator PrefixIndex::place(
    std::uint64_t salt, std::span<const std::int32_t> tokens) const {
  return std::partition_point(lists_.begin(), lists_.end(), [&](const List& list) {
    if (list.salt != salt) return list.salt < salt;
    return std::lexicographical_compare(list.tokens.begin(), list.tokens.end(), tokens.begin(),
                                        tokens.end());
  });
}

std::vector<PrefixIndex::List>::iterator PrefixIndex::find(std::uint64_t id) {
  return std::find_if(lists_.begin(), lists_.end(),
                      [&](const List& list) { return list.id == id; });
}

void PrefixIndex::add(std::uint64_t id, std::uint64_t salt, std::vector<std::int32_t> tokens) {
  check(find(id) == lists_.end(), "a list is added once");
  const auto before = place(salt, tokens);
  lists_.insert(before, List{id, salt, std::move(tokens)});
}

void PrefixIndex::truncate(std::uint64_t id, std::size_t length) {
  const auto found = find(id);
  check(found != lists_.end() && length <= found->tokens.size(), "truncating only shortens");
  List list = std::move(*found);
  lists_.erase(found);
  list.tokens.resize(length);
  add(id, list.salt, std::move(list.tokens));
}

void PrefixIndex::remove(std::uint64_t id) {
  if (const auto found = find(id); found != lists_.end()) lists_.erase(found);
}

std::optional<PrefixIndex::Match> PrefixIndex::best(std::uint64_t salt,
                                                    std::span<const std::int32_t> prompt,
                                                    const Usable& usable) const {
  const auto common = [&](const List& list) {
    return list.salt == salt ? common_length(list.tokens, prompt) : 0;
  };
  auto right = place(salt, prompt);
  auto left = right;
  std::uint32_t right_common = right == lists_.end() ? 0 : common(*right);
  std::uint32_t left_common = left == lists_.begin() ? 0 : common(*std::prev(left));
  Match best;
  // Away from its place lists have ever less in common with the prompt.
  while (std::max(left_common, right_common) > best.length) {
    const bool to_right = right_common >= left_common;
    const List& list = to_right ? *right : *std::prev(left);
    const std::uint32_t length = usable(list.id, std::max(left_common, right_common));
    if (length > best.length) best = {list.id, length};
    if (to_right) {
      ++right;
      right_common = right == lists_.end() ? 0 : common(*right);
    } else {
      --left;
      left_common = left == lists_.begin() ? 0 : common(*std::prev(left));
    }
  }
  if (best.length == 0) return std::nullopt;
  return best;
}

}  // namespace tandem::scheduler
