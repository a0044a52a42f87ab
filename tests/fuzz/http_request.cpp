// Bytes of a connection, as a client may send them: the strict reader of heads and chunks.
//
// The first byte says into how large pieces the rest is cut; that must change nothing. Whatever is
// accepted, Beast must read the same way.

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/fuzz.h"
#include "server/http/request_reader.h"

namespace {

using namespace tandem::server;
using tandem::fuzz::require;
namespace http = boost::beast::http;

struct Read {
  std::vector<RequestHead> heads;
  std::vector<std::string> bodies;
  int refused = 0;
};

HttpLimits small_limits() {
  HttpLimits limits;
  limits.line_bytes = 200;
  limits.head_bytes = 1000;
  limits.fields = 10;
  limits.body_bytes = 1000;
  return limits;
}

Read read_all(std::string_view bytes, std::size_t step) {
  const HttpLimits limits = small_limits();
  RequestReader reader(limits);
  Read read;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    reader.feed(piece);
    for (;;) {
      const auto event = reader.next();
      if (event == RequestReader::Event::kMore) break;
      if (event == RequestReader::Event::kRefused) {
        read.refused = reader.refused().status;
        require(read.refused >= 400 && read.refused <= 505);
        return read;
      }
      if (event == RequestReader::Event::kHead) continue;
      read.heads.push_back(reader.take_head());
      read.bodies.push_back(reader.take_body());
      require(read.bodies.back().size() <= limits.body_bytes);
    }
    require(reader.waiting_bytes() <= limits.head_bytes + step);
  }
  return read;
}

// The first request, as Beast reads it.
void compare_with_beast(std::string_view bytes, const Read& read) {
  while (bytes.starts_with("\r\n")) bytes.remove_prefix(2);
  http::request_parser<http::string_body> beast;
  beast.eager(true);
  boost::system::error_code error;
  beast.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  // Beast knows fewer bytes that a target may have, and wants extensions and lists of Proxy- and
  // other headers well formed that mean nothing to us.
  if (error) return;
  require(beast.is_done());
  require(beast.get().body() == read.bodies.front());
  require(beast.chunked() == read.heads.front().chunked);
  require((beast.get().version() == 10) == read.heads.front().http10);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Read whole = read_all(bytes, bytes.size());
  const Read pieces = read_all(bytes, 1 + data[0] % 64);
  require(whole.refused == pieces.refused && whole.bodies == pieces.bodies);
  if (!whole.bodies.empty()) compare_with_beast(bytes, whole);
  return 0;
}
