#include "server/http/server_state.h"

#include <utility>
#include <vector>

#include "server/http/connection.h"

namespace tandem::server {

void ConnectionList::add(const std::shared_ptr<Connection>& connection) {
  const std::lock_guard lock(mutex_);
  open_.emplace(connection.get(), connection);
}

void ConnectionList::remove(const Connection* connection) {
  {
    const std::lock_guard lock(mutex_);
    open_.erase(connection);
  }
  changed_.notify_all();
}

std::size_t ConnectionList::size() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

void ConnectionList::for_each(const std::function<void(Connection&)>& visit) const {
  std::vector<std::shared_ptr<Connection>> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, weak] : open_) {
      if (auto connection = weak.lock()) all.push_back(std::move(connection));
    }
  }
  for (const auto& connection : all) visit(*connection);
}

std::shared_ptr<Connection> ConnectionList::longest_waiting(Clock::time_point before) const {
  std::shared_ptr<Connection> longest;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, weak] : open_) {
    auto connection = weak.lock();
    const auto since = connection ? connection->waiting_since() : std::nullopt;
    if (!since || *since >= before) continue;
    before = *since;
    longest.swap(connection);
  }
  return longest;
}

bool ConnectionList::wait_until_empty(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return open_.empty(); });
}

void AnswerCount::begin() {
  const std::lock_guard lock(mutex_);
  ++count_;
}

void AnswerCount::end() {
  {
    const std::lock_guard lock(mutex_);
    --count_;
  }
  changed_.notify_all();
}

bool AnswerCount::wait_until_none(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return count_ == 0; });
}

}  // namespace tandem::server
