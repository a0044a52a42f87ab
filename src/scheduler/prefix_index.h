#pragma once
// Which sequences begin like a prompt.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace tandem::scheduler {

/// The order in which requests are served.
struct QueuePosition {
  std::int64_t priority = 0;  // lower is served first
  std::uint64_t arrival = 0;
  auto operator<=>(const QueuePosition&) const = default;
};

/// A radix tree of token lists. Each list says how much of it can be used, and perhaps who computes
/// more of it; nodes sum that up for all lists below them, so that a question costs the length of
/// the answer and not the number of lists. A plain value; it knows lists by id and nothing of
/// memory.
class PrefixIndex {
 public:
  struct Match {
    std::uint64_t id = 0;
    std::uint32_t length = 0;  // tokens, at least 1
  };
  /// A beginning of n tokens of a list can be used if least <= n <= most.
  struct Usable {
    std::uint32_t least = 0;
    std::uint32_t most = 0;
    bool operator==(const Usable&) const = default;
  };

  /// Adds a list that only prompts of the same salt may match; none of it can be used yet. With a
  /// rank its tokens beyond usable().most are being computed. Ids are unique.
  void add(std::uint64_t id, std::uint64_t salt, std::span<const std::int32_t> tokens,
           std::optional<QueuePosition> rank = std::nullopt);
  /// Adds the first `length` tokens of the list `of`, which nobody computes.
  void add_prefix(std::uint64_t id, std::uint64_t of, std::size_t length);
  void set_usable(std::uint64_t id, Usable usable);
  /// Shortens a list, and what can be used of it.
  void truncate(std::uint64_t id, std::size_t length);
  /// Unknown ids are ignored.
  void remove(std::uint64_t id);

  /// The list of `salt` with the longest usable beginning of the prompt; nothing when none has any.
  std::optional<Match> longest(std::uint64_t salt, std::span<const std::int32_t> prompt) const;
  /// The longest beginning of the prompt that a list of an earlier rank can be used for, now or
  /// when it is computed.
  std::optional<Match> coming(std::uint64_t salt, std::span<const std::int32_t> prompt,
                              const QueuePosition& rank) const;
  /// Tokens of the longest beginning that any list shares, usable or not.
  std::uint32_t common(std::uint64_t salt, std::span<const std::int32_t> prompt) const;
  std::size_t size() const { return lists_.size(); }

 private:
  static constexpr QueuePosition kNoRank{std::numeric_limits<std::int64_t>::max(),
                                         std::numeric_limits<std::uint64_t>::max()};
  /// Of all lists of a node and below.
  struct Bounds {
    std::uint32_t least = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t most = 0;
    QueuePosition first = kNoRank;
    bool operator==(const Bounds&) const = default;
    void cover(const Bounds& other);
  };
  struct Node {
    Node* parent = nullptr;
    std::uint32_t depth = 0;         // tokens from the root to the end of `edge`
    std::vector<std::int32_t> edge;  // from the parent; empty for the root only
    std::map<std::int32_t, std::unique_ptr<Node>> children;  // by the first token of their edges
    std::vector<std::uint64_t> lists;                        // that end here
    Bounds bounds;
  };
  struct List {
    std::uint64_t salt = 0;
    Node* node = nullptr;
    Usable usable;
    QueuePosition rank = kNoRank;
  };
  /// The last node on the prompt's way, and how many tokens all its lists share with the prompt.
  struct Place {
    Node* node = nullptr;
    std::uint32_t common = 0;
  };

  Place walk(std::uint64_t salt, std::span<const std::int32_t> prompt) const;
  Node* node_of(std::uint64_t salt, std::span<const std::int32_t> tokens);
  Node* cut_at(Node* node, std::uint32_t depth);
  void put(std::uint64_t id, Node* node);
  void take(std::uint64_t id);
  Node* tidy(Node* node, std::uint64_t salt);
  void refresh(Node* node);
  template <class Open, class Visit>
  void search(const Node& node, const Node* without, const Open& open, const Visit& visit) const;
  template <class Find>
  void climb(const Place& place, const Find& find) const;

  std::map<std::uint64_t, std::unique_ptr<Node>> roots_;  // by salt
  std::map<std::uint64_t, List> lists_;
};

}  // namespace tandem::scheduler
