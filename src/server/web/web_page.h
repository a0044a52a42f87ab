#pragma once
// The web page at `/` and its files at `/web/...`: chat and a view of the cluster.

#include <optional>
#include <string>
#include <vector>

#include "server/http/exchange.h"

namespace tandem::server {

/// The answer to a request for the page or one of its files: the bytes with a strong ETag, 304 for
/// an If-None-Match that names it, 405 for a method other than GET and HEAD. nullopt: the path is
/// not of the page. The page may run only its own scripts and speak only to this server
/// (Content-Security-Policy). Any thread.
std::optional<HttpResponse> web_page(const HttpRequest& request);

/// The paths that it answers. They hold nothing secret and must be open without a key, for a
/// browser has none before the page has asked for it.
std::vector<std::string> web_paths();

}  // namespace tandem::server
