#pragma once
// The files of web/, embedded by cmake/EmbedWeb.cmake.

#include <cstddef>
#include <span>
#include <string_view>

namespace tandem::server {

struct WebAsset {
  std::string_view name;  // in web/, e.g. "app.js"
  const unsigned char* bytes;
  std::size_t size;
  std::string_view etag;  // strong and quoted, from the bytes
};

/// All of them, by name.
std::span<const WebAsset> web_assets();

}  // namespace tandem::server
