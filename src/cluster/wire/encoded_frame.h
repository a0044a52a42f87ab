#pragma once
// A frame as it goes over a link.

#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "base/shared_bytes.h"

namespace tandem::cluster {

/// Two pieces that follow each other on the wire: what was written for it, and hidden states where
/// they lie already, so that a link sends them without a copy.
struct EncodedFrame {
  EncodedFrame() = default;
  /// A frame in one piece.
  template <class T>
    requires(std::convertible_to<T, std::string> &&
             !std::same_as<std::remove_cvref_t<T>, EncodedFrame>)
  EncodedFrame(T&& whole) : head(std::forward<T>(whole)) {}
  EncodedFrame(std::string first, SharedBytes second)
      : head(std::move(first)), body(std::move(second)) {}

  std::size_t size() const { return head.size() + body.size(); }
  /// Both in one piece, which copies the second.
  operator std::string() && {
    head.append(reinterpret_cast<const char*>(body.data()), body.size());
    return std::move(head);
  }

  std::string head;
  SharedBytes body;
};

}  // namespace tandem::cluster
