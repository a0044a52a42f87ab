#include "server/web/web_page.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "server/web/assets.h"

namespace tandem::server {
namespace {

constexpr std::string_view kIndex = "index.html";
constexpr std::string_view kFolder = "/web/";
/// No script, style, image or connection but from this server; no frame around the page.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view content_type(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kTypes = {
      {{".html", "text/html; charset=utf-8"},
       {".js", "text/javascript; charset=utf-8"},
       {".css", "text/css; charset=utf-8"},
       {".svg", "image/svg+xml"},
       {".json", "application/json"}}};
  for (const auto& [suffix, type] : kTypes) {
    if (name.ends_with(suffix)) return type;
  }
  return "application/octet-stream";
}

const WebAsset* find_asset(std::string_view path) {
  std::string_view name;
  if (path == "/") {
    name = kIndex;
  } else if (path.starts_with(kFolder)) {
    name = path.substr(kFolder.size());
  }
  const auto assets = web_assets();
  const auto found = std::ranges::find(assets, name, &WebAsset::name);
  return found == assets.end() || (name == kIndex && path != "/") ? nullptr : &*found;
}

/// If-None-Match (RFC 9110, 13.1.2): a list of tags or *, compared weakly.
bool names_tag(std::string_view list, std::string_view etag) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    std::string_view tag = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    tag.remove_prefix(std::min(tag.find_first_not_of(" \t"), tag.size()));
    tag.remove_suffix(tag.size() - (tag.find_last_not_of(" \t") + 1));
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == "*" || tag == etag) return true;
  }
  return false;
}

}  // namespace

std::optional<HttpResponse> web_page(const HttpRequest& request) {
  const WebAsset* asset = find_asset(request.path);
  if (asset == nullptr) return std::nullopt;
  HttpResponse response;
  if (request.method != "GET" && request.method != "HEAD") {
    response.status = 405;
    response.content_type = "text/plain; charset=utf-8";
    response.body = "Only GET and HEAD.\n";
    response.headers = {{"Allow", "GET, HEAD"}};
    return response;
  }
  response.content_type = content_type(asset->name);
  // The names say nothing of the version, so browsers ask each time and mostly hear 304.
  response.headers = {
      {"ETag", std::string(asset->etag)},   {"Cache-Control", "no-cache"},
      {"Content-Security-Policy", kPolicy}, {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},   {"Cross-Origin-Opener-Policy", "same-origin"}};
  const std::string* known = request.header("If-None-Match");
  if (known != nullptr && names_tag(*known, asset->etag)) {
    response.status = 304;
  } else {
    response.body.assign(asset->bytes, asset->bytes + asset->size);
  }
  return response;
}

std::vector<std::string> web_paths() {
  std::vector<std::string> paths = {"/"};
  for (const WebAsset& asset : web_assets()) {
    if (asset.name != kIndex) paths.push_back(std::string(kFolder) + std::string(asset.name));
  }
  return paths;
}

}  // namespace tandem::server
