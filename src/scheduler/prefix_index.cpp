#include "scheduler/prefix_index.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace tandem::scheduler {

void PrefixIndex::Bounds::cover(const Bounds& other) {
  least = std::min(least, other.least);
  most = std::max(most, other.most);
  first = std::min(first, other.first);
}

PrefixIndex::Place PrefixIndex::walk(std::uint64_t salt,
                                     std::span<const std::int32_t> prompt) const {
  const auto root = roots_.find(salt);
  if (root == roots_.end()) return {};
  Place place{root->second.get(), 0};
  while (place.common == place.node->depth && place.common < prompt.size()) {
    const auto rest = prompt.subspan(place.common);
    const auto child = place.node->children.find(rest.front());
    if (child == place.node->children.end()) break;
    place.node = child->second.get();
    const auto& edge = place.node->edge;
    const auto end = std::mismatch(edge.begin(), edge.end(), rest.begin(), rest.end()).first;
    place.common += static_cast<std::uint32_t>(end - edge.begin());
  }
  return place;
}

/// The node at `depth` on the way from the root to `node`, made if there is none.
PrefixIndex::Node* PrefixIndex::cut_at(Node* node, std::uint32_t depth) {
  while (node->parent != nullptr && node->parent->depth >= depth) node = node->parent;
  if (node->depth == depth) return node;
  auto upper = std::make_unique<Node>();
  upper->parent = node->parent;
  upper->depth = depth;
  upper->bounds = node->bounds;
  const auto middle = node->edge.begin() + static_cast<std::ptrdiff_t>(depth - node->parent->depth);
  upper->edge.assign(node->edge.begin(), middle);
  node->edge.erase(node->edge.begin(), middle);
  auto& place = node->parent->children.at(upper->edge.front());
  Node* made = upper.get();
  node->parent = made;
  std::swap(place, upper);
  made->children.emplace(node->edge.front(), std::move(upper));
  return made;
}

PrefixIndex::Node* PrefixIndex::node_of(std::uint64_t salt, std::span<const std::int32_t> tokens) {
  auto& root = roots_[salt];
  if (!root) root = std::make_unique<Node>();
  const Place place = walk(salt, tokens);
  Node* node = cut_at(place.node, place.common);
  const auto rest = tokens.subspan(place.common);
  if (rest.empty()) return node;
  auto leaf = std::make_unique<Node>();
  leaf->parent = node;
  leaf->depth = static_cast<std::uint32_t>(tokens.size());
  leaf->edge.assign(rest.begin(), rest.end());
  return (node->children[rest.front()] = std::move(leaf)).get();
}

/// Sums the bounds up again, from a node to the root.
void PrefixIndex::refresh(Node* node) {
  for (; node != nullptr; node = node->parent) {
    Bounds bounds;
    for (const std::uint64_t id : node->lists) {
      const List& list = lists_.at(id);
      bounds.cover({list.usable.least, list.usable.most, list.rank});
    }
    for (const auto& [token, child] : node->children) bounds.cover(child->bounds);
    if (bounds == node->bounds) return;
    node->bounds = bounds;
  }
}

void PrefixIndex::put(std::uint64_t id, Node* node) {
  lists_.at(id).node = node;
  node->lists.push_back(id);
  refresh(node);
}

/// Removes nodes that stand for no list, joins those that no longer part; the last that is left.
PrefixIndex::Node* PrefixIndex::tidy(Node* node, std::uint64_t salt) {
  while (node->parent != nullptr && node->lists.empty() && node->children.empty()) {
    Node* parent = node->parent;
    parent->children.erase(node->edge.front());
    node = parent;
  }
  if (node->lists.empty() && node->children.empty()) {
    roots_.erase(salt);
    return nullptr;
  }
  if (node->parent == nullptr || !node->lists.empty() || node->children.size() > 1) return node;
  std::unique_ptr<Node> child = std::move(node->children.begin()->second);
  child->edge.insert(child->edge.begin(), node->edge.begin(), node->edge.end());
  child->parent = node->parent;
  Node* kept = child.get();
  node->parent->children.at(child->edge.front()) = std::move(child);  // ends `node`
  return kept->parent;
}

void PrefixIndex::take(std::uint64_t id) {
  const List& list = lists_.at(id);
  std::erase(list.node->lists, id);
  if (Node* left = tidy(list.node, list.salt)) refresh(left);
}

void PrefixIndex::add(std::uint64_t id, std::uint64_t salt, std::span<const std::int32_t> tokens,
                      std::optional<QueuePosition> rank) {
  const bool added = lists_.try_emplace(id, List{salt, nullptr, {}, rank.value_or(kNoRank)}).second;
  check(added, "a list is added once");
  put(id, node_of(salt, tokens));
}

void PrefixIndex::add_prefix(std::uint64_t id, std::uint64_t of, std::size_t length) {
  const List whole = lists_.at(of);
  check(length <= whole.node->depth, "a prefix is no longer than the list");
  const bool added = lists_.try_emplace(id, List{whole.salt, nullptr, {}, kNoRank}).second;
  check(added, "a list is added once");
  put(id, cut_at(whole.node, static_cast<std::uint32_t>(length)));
}

void PrefixIndex::set_usable(std::uint64_t id, Usable usable) {
  List& list = lists_.at(id);
  usable.most = std::min(usable.most, list.node->depth);
  if (list.usable == usable) return;
  list.usable = usable;
  refresh(list.node);
}

void PrefixIndex::truncate(std::uint64_t id, std::size_t length) {
  List& list = lists_.at(id);
  check(length <= list.node->depth, "truncating only shortens");
  Node* shorter = cut_at(list.node, static_cast<std::uint32_t>(length));
  if (shorter == list.node) return;
  Node* before = list.node;
  list.usable.most = std::min(list.usable.most, shorter->depth);
  std::erase(before->lists, id);
  put(id, shorter);  // first, so that the way to it stays
  if (Node* left = tidy(before, list.salt)) refresh(left);
}

void PrefixIndex::remove(std::uint64_t id) {
  if (!lists_.contains(id)) return;
  take(id);
  lists_.erase(id);
}

/// Visits nodes from `node` down, but not `without`, while open(node) says that there may be more.
template <class Open, class Visit>
void PrefixIndex::search(const Node& node, const Node* without, const Open& open,
                         const Visit& visit) const {
  if (!open(node)) return;
  for (const std::uint64_t id : node.lists) visit(id, lists_.at(id));
  for (const auto& [token, child] : node.children) {
    if (!open(node)) return;
    if (child.get() != without) search(*child, nullptr, open, visit);
  }
}

/// What find(node, without, common) finds on the way from the prompt's place to the root, where
/// `common` tokens are shared by the lists below the node, but not below `without`.
template <class Find>
void PrefixIndex::climb(const Place& place, const Find& find) const {
  const Node* below = nullptr;
  for (const Node* node = place.node; node != nullptr; below = std::exchange(node, node->parent)) {
    if (!find(*node, below, std::min(place.common, node->depth))) return;
  }
}

std::optional<PrefixIndex::Match> PrefixIndex::longest(std::uint64_t salt,
                                                       std::span<const std::int32_t> prompt) const {
  Match best;
  climb(walk(salt, prompt), [&](const Node& node, const Node* without, std::uint32_t common) {
    if (common <= best.length) return false;
    const auto open = [&](const Node& each) {
      const std::uint32_t bound = std::min(common, each.bounds.most);
      return bound > best.length && each.bounds.least <= bound;
    };
    search(node, without, open, [&](std::uint64_t id, const List& list) {
      const std::uint32_t length = std::min(common, list.usable.most);
      if (length >= list.usable.least && length > best.length) best = {id, length};
    });
    return true;
  });
  if (best.length == 0) return std::nullopt;
  return best;
}

std::optional<PrefixIndex::Match> PrefixIndex::coming(std::uint64_t salt,
                                                      std::span<const std::int32_t> prompt,
                                                      const QueuePosition& rank) const {
  Match best;
  climb(walk(salt, prompt), [&](const Node& node, const Node* without, std::uint32_t common) {
    if (common == 0 || best.length > 0) return false;
    const auto open = [&](const Node& each) {
      return best.length == 0 && each.bounds.first < rank && each.bounds.least <= common;
    };
    search(node, without, open, [&](std::uint64_t id, const List& list) {
      if (list.rank < rank && list.usable.least <= common) best = {id, common};
    });
    return true;
  });
  if (best.length == 0) return std::nullopt;
  return best;
}

std::uint32_t PrefixIndex::common(std::uint64_t salt, std::span<const std::int32_t> prompt) const {
  return walk(salt, prompt).common;
}

}  // namespace tandem::scheduler
