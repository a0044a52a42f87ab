// Heads, chunks and whole requests, read from bytes alone. The corpus of what must be refused is in
// tests/http/framing_test.py; here are the properties, and Beast as a second opinion.

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "server/http/chunk_decoder.h"
#include "server/http/head_check.h"
#include "server/http/request_reader.h"

namespace tandem::server {
namespace {

namespace http = boost::beast::http;

const std::string kHead =
    "POST /v1/chat?a=b HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n"
    "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n";

RequestHead good(const std::string& text) {
  auto head = read_head(text);
  if (const auto* refused = std::get_if<Refused>(&head)) ADD_FAILURE() << refused->message;
  return std::get<RequestHead>(std::move(head));
}

TEST(Head, IsReadWhole) {
  const RequestHead head = good(kHead);
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.path, "/v1/chat");
  EXPECT_EQ(head.query, "a=b");
  ASSERT_EQ(head.headers.size(), 4u);
  EXPECT_EQ(*head.header("CONTENT-type"), "application/json");
  EXPECT_EQ(head.header("none"), nullptr);
  EXPECT_EQ(head.content_length, 12u);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.chunked || head.http10 || head.expects_continue);
}

TEST(Head, AnAbsoluteTargetNamesTheHostInTheHeadersPlace) {
  const auto of = [](const std::string& target, const std::string& headers) {
    return read_head("GET " + target + " HTTP/1.1\r\n" + headers + "\r\n");
  };
  const RequestHead head =
      std::get<RequestHead>(of("HTTP://evil.example:80/v1/models?x", "Host: localhost\r\n"));
  EXPECT_EQ(head.path, "/v1/models");
  EXPECT_EQ(head.query, "x");
  ASSERT_EQ(head.headers.size(), 1U);
  EXPECT_EQ(*head.header("host"), "evil.example:80");
  EXPECT_EQ(std::get<RequestHead>(of("http://[::1]", "Host: a\r\n")).path, "/");
  for (const char* target : {"http://", "http:///x", "http://a b", "http://u@h/", "http://a?x",
                             "ftp://a/", "localhost:80", "https:/x"}) {
    const auto refused = of(target, "Host: a\r\n");
    ASSERT_EQ(refused.index(), 1U) << target;
    EXPECT_EQ(std::get<Refused>(refused).status, 400) << target;
  }
  EXPECT_EQ(of("http://a/", "").index(), 1U) << "HTTP/1.1 needs its Host header all the same";
}

TEST(Head, AKnownFramingOfAnUnknownCodingIsNotImplemented) {
  const auto status = [](const std::string& coding) {
    const auto head =
        read_head("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + coding + "\r\n\r\n");
    return head.index() == 1 ? std::get<Refused>(head).status : 200;
  };
  EXPECT_EQ(status("chunked"), 200);
  EXPECT_EQ(status("gzip, chunked"), 501);
  EXPECT_EQ(status("gzip"), 400);
  EXPECT_EQ(status("chunked, gzip"), 400);
}

TEST(Head, ScannerFindsTheEndWhereverTheBytesAreCut) {
  const HttpLimits limits;
  for (std::size_t step = 1; step < kHead.size(); ++step) {
    HeadScanner scanner(limits);
    std::optional<std::size_t> end;
    for (std::size_t have = step; !end; have = std::min(have + step, kHead.size())) {
      auto found = scanner.find_end(std::string_view(kHead).substr(0, have));
      ASSERT_EQ(found.index(), 0u);
      end = std::get<0>(found);
      ASSERT_EQ(end.has_value(), have == kHead.size()) << have;
    }
    EXPECT_EQ(*end, kHead.size());
  }
}

TEST(Head, ScannerRefusesAtTheFirstWrongByte) {
  const HttpLimits limits;
  for (const std::string text : {"\x16", "GET / HTTP/1.1\n", "GET / HTTP/1.1\rX", "\n", "A\x7f"}) {
    HeadScanner scanner(limits);
    const auto found = scanner.find_end(text);
    ASSERT_EQ(found.index(), 1u) << text;
    EXPECT_EQ(std::get<Refused>(found).status, 400);
  }
}

TEST(Head, EachLimitHasItsStatus) {
  HttpLimits limits;
  limits.line_bytes = 30;
  limits.head_bytes = 100;
  limits.fields = 3;
  const auto status = [&](const std::string& text) {
    HeadScanner scanner(limits);
    const auto found = scanner.find_end(text);
    return found.index() == 1 ? std::get<Refused>(found).status : 0;
  };
  EXPECT_EQ(status("GET /" + std::string(26, 'a')), 414);
  EXPECT_EQ(status("GET / HTTP/1.1\r\nA: " + std::string(82, 'a')), 431);
  EXPECT_EQ(status("GET / HTTP/1.1\r\n" + std::string("A:b\r\nA:b\r\nA:b\r\n\r\n")), 0);
  EXPECT_EQ(status("GET / HTTP/1.1\r\n" + std::string("A:b\r\nA:b\r\nA:b\r\nA:b\r\n")), 431);
}

// Changes a few bytes, preferring those that parsers stumble over.
std::string mutated(std::string text, std::mt19937& random) {
  static const std::string kBytes = std::string("\r\n\0 \t:;,/0%x", 12) + "\x0b\xff" + "\x7f";
  const int changes = 1 + static_cast<int>(random() % 3);
  for (int i = 0; i < changes; ++i) {
    const std::size_t at = random() % text.size();
    const char byte =
        random() % 2 ? kBytes[random() % kBytes.size()] : static_cast<char>(random() % 256);
    if (const auto kind = random() % 3; kind == 0)
      text[at] = byte;
    else if (kind == 1)
      text.insert(at, 1, byte);
    else
      text.erase(at, 1);
    if (text.empty()) text = "x";
  }
  return text;
}

TEST(Head, WhatIsAcceptedBeastReadsTheSame) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::vector<std::string> heads = {
      kHead,
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: a, close\r\n\r\n",
      "GET /%20 HTTP/1.0\r\nAccept:\r\nX: y\r\n\r\n"};
  int accepted = 0;
  for (int i = 0; i < 30000; ++i) {
    const std::string text = mutated(heads[random() % heads.size()], random);
    const auto read = read_head(text);
    if (read.index() == 1) continue;
    ++accepted;
    const auto& head = std::get<RequestHead>(read);
    http::request_parser<http::empty_body> beast;
    beast.body_limit(boost::none);
    boost::system::error_code error;
    beast.put(boost::asio::buffer(text), error);
    // Beast knows fewer bytes that a target may have.
    ASSERT_FALSE(error && error != http::error::bad_target) << text << error.message();
    if (error) continue;
    ASSERT_TRUE(beast.is_header_done()) << text;
    EXPECT_EQ(beast.chunked(), head.chunked) << text;
    EXPECT_EQ(beast.content_length().value_or(0), head.content_length) << text;
    EXPECT_EQ(beast.get().version() == 10, head.http10) << text;
    const auto count = std::distance(beast.get().begin(), beast.get().end());
    EXPECT_EQ(count, static_cast<std::ptrdiff_t>(head.headers.size())) << text;
    for (const auto& header : head.headers) {
      const auto range = beast.get().equal_range(header.name);
      EXPECT_TRUE(std::any_of(range.first, range.second, [&](const auto& field) {
        return std::string_view(field.value().data(), field.value().size()) == header.value;
      })) << text;
    }
  }
  EXPECT_GT(accepted, 1000);
}

std::string chunked(const std::string& body, std::mt19937& random) {
  std::string out;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t size = std::min<std::size_t>(1 + random() % 20, body.size() - at);
    char digits[20];
    std::snprintf(digits, sizeof digits, random() % 2 ? "%zx" : "00%zX", size);
    out += digits;
    if (random() % 4 == 0) out += ";name=\"v a l\"";
    out += "\r\n" + body.substr(at, size) + "\r\n";
    at += size;
  }
  return out + "0\r\n" + (random() % 2 ? "Trailer: x\r\n" : "") + "\r\n";
}

TEST(Chunks, EveryBodyComesOutWholeHoweverItIsCut) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 500; ++i) {
    std::string body;
    for (std::size_t n = random() % 300; n > 0; --n) body += static_cast<char>(random());
    const std::string bytes = chunked(body, random) + "next";
    ChunkDecoder decoder(1000);
    std::string out;
    std::string_view rest = bytes;
    while (!decoder.done()) {
      std::string_view piece = rest.substr(0, 1 + random() % 9);
      const std::size_t size = piece.size();
      ASSERT_FALSE(decoder.feed(piece, out).has_value());
      rest.remove_prefix(size - piece.size());
    }
    EXPECT_EQ(out, body);
    EXPECT_EQ(rest, "next");
  }
}

TEST(Chunks, TheBodysLimitIsCheckedBeforeItsBytesCome) {
  ChunkDecoder decoder(10);
  std::string out;
  std::string_view in = "6\r\nabcdef\r\n5\r\n";
  const auto refused = decoder.feed(in, out);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->status, 413);
}

TEST(Chunks, MutatedBodiesNeverGrowBeyondTheLimit) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 20000; ++i) {
    const std::string bytes = mutated(chunked("hello world", random), random);
    ChunkDecoder decoder(12);
    std::string out;
    std::string_view in = bytes;
    const auto refused = decoder.feed(in, out);
    EXPECT_LE(out.size(), 12u);
    EXPECT_TRUE(refused || decoder.done() || in.empty());
  }
}

TEST(Reader, PipelinedRequestsComeOutOneByOneHoweverTheyAreCut) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 300; ++i) {
    std::string bytes;
    std::vector<std::string> bodies;
    for (int n = 0; n < 5; ++n) {
      bodies.emplace_back(random() % 100, static_cast<char>('a' + n));
      bytes += "POST / HTTP/1.1\r\nHost: a\r\n";
      if (random() % 2) {
        bytes += "Transfer-Encoding: chunked\r\n\r\n" + chunked(bodies.back(), random);
      } else {
        bytes += "Content-Length: " + std::to_string(bodies.back().size()) + "\r\n\r\n";
        bytes += bodies.back() + (random() % 2 ? "\r\n" : "");
      }
    }
    const HttpLimits limits;
    RequestReader reader(limits);
    std::vector<std::string> seen;
    for (std::string_view rest = bytes; !rest.empty();) {
      const std::string_view piece = rest.substr(0, 1 + random() % 50);
      rest.remove_prefix(piece.size());
      reader.feed(piece);
      for (auto event = reader.next(); event != RequestReader::Event::kMore;
           event = reader.next()) {
        ASSERT_NE(event, RequestReader::Event::kRefused) << reader.refused().message;
        if (event == RequestReader::Event::kRequest) seen.push_back(reader.take_body());
      }
    }
    EXPECT_EQ(seen, bodies);
    EXPECT_NE(reader.phase(), RequestReader::Phase::kBody);
  }
}

TEST(Reader, NothingFollowsARefusal) {
  const HttpLimits limits;
  RequestReader reader(limits);
  reader.feed("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reader.next(), RequestReader::Event::kRefused);
  reader.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reader.next(), RequestReader::Event::kRefused);
  EXPECT_EQ(reader.refused().status, 400);
}

}  // namespace
}  // namespace tandem::server
