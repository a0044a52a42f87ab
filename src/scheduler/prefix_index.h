#pragma once
// Which sequences begin like a prompt.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace tandem::scheduler {

/// Token lists in lexicographic order: those with the longest common beginning with a prompt are
/// neighbours of its place. A plain value; it knows lists by id and nothing of memory.
class PrefixIndex {
 public:
  struct Match {
    std::uint64_t id = 0;
    std::uint32_t length = 0;  // tokens, at least 1
  };
  /// How many of the `common` tokens (at least 1) that a list and the prompt begin with can be
  /// used; at most `common`.
  using Usable = std::function<std::uint32_t(std::uint64_t id, std::uint32_t common)>;

  /// Adds a list that only prompts of the same salt may match. Ids are unique.
  void add(std::uint64_t id, std::uint64_t salt, std::vector<std::int32_t> tokens);
  /// Shortens a list.
  void truncate(std::uint64_t id, std::size_t length);
  /// Unknown ids are ignored.
  void remove(std::uint64_t id);

  /// The list of `salt` with the most usable tokens; nothing when none has any.
  std::optional<Match> best(std::uint64_t salt, std::span<const std::int32_t> prompt,
                            const Usable& usable) const;
  std::size_t size() const { return lists_.size(); }

 private:
  struct List {
    std::uint64_t id = 0;
    std::uint64_t salt = 0;
    std::vector<std::int32_t> tokens;
  };
  std::vector<List>::const_iterator place(std::uint64_t salt,
                                          std::span<const std::int32_t> tokens) const;
  std::vector<List>::iterator find(std::uint64_t id);

  std::vector<List> lists_;  // by salt, then tokens
};

}  // namespace tandem::scheduler
