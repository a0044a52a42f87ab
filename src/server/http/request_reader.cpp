#include "server/http/request_reader.h"

#include <algorithm>

namespace tandem::server {
namespace {

// Below this an emptied buffer is kept for the next head.
constexpr std::size_t kKeptBytes = 4 << 10;

}  // namespace

RequestReader::RequestReader(const HttpLimits& limits) : limits_(limits), scanner_(limits_) {}

void RequestReader::feed(std::string_view bytes) {
  if (begin_ > kKeptBytes) {
    in_.erase(0, begin_);
    begin_ = 0;
  }
  in_.append(bytes);
}

RequestReader::Phase RequestReader::phase() const {
  if (in_body_) return Phase::kBody;
  return waiting_bytes() > 0 ? Phase::kHead : Phase::kIdle;
}

RequestReader::Event RequestReader::next() {
  if (refused_) return Event::kRefused;
  return in_body_ ? next_body() : next_head();
}

RequestReader::Event RequestReader::refuse(Refused refused) {
  refused_ = std::move(refused);
  std::string().swap(in_);
  begin_ = 0;
  std::string().swap(body_);
  return Event::kRefused;
}

void RequestReader::drop(std::size_t bytes) {
  begin_ += bytes;
  if (begin_ < in_.size()) return;
  begin_ = 0;
  in_.clear();
  if (in_.capacity() > kKeptBytes) std::string().swap(in_);
}

RequestReader::Event RequestReader::next_head() {
  // RFC 9112 section 2.2: empty lines before a request are ignored; some clients end a body so.
  while (waiting().starts_with("\r\n")) drop(2);
  if (waiting() == "\r") return Event::kMore;
  auto found = scanner_.find_end(waiting());
  if (auto* refused = std::get_if<Refused>(&found)) return refuse(std::move(*refused));
  const auto end = std::get<0>(found);
  if (!end) return Event::kMore;
  auto head = read_head(waiting().substr(0, *end));
  if (auto* refused = std::get_if<Refused>(&head)) return refuse(std::move(*refused));
  scanner_.reset();
  drop(*end);
  head_ = std::get<RequestHead>(std::move(head));
  body_.clear();
  if (head_.chunked) chunks_.emplace(limits_.body_bytes);
  in_body_ = true;
  return Event::kHead;
}

RequestReader::Event RequestReader::next_body() {
  if (head_.content_length > limits_.body_bytes) {
    return refuse({413, "the body is over " + std::to_string(limits_.body_bytes) + " bytes"});
  }
  if (head_.chunked) {
    std::string_view rest = waiting();
    auto refused = chunks_->feed(rest, body_);
    if (refused) return refuse(std::move(*refused));
    drop(waiting_bytes() - rest.size());
    if (!chunks_->done()) return Event::kMore;
  } else {
    const auto missing = static_cast<std::size_t>(head_.content_length) - body_.size();
    const std::size_t taken = std::min(missing, waiting_bytes());
    body_.append(waiting().substr(0, taken));
    drop(taken);
    if (taken < missing) return Event::kMore;
  }
  in_body_ = false;
  return Event::kRequest;
}

}  // namespace tandem::server
