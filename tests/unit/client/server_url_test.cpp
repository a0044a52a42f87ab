#include "client/server_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tandem::client {
namespace {

TEST(ServerUrl, WithoutAPathMeansV1) {
  for (const char* text : {"http://127.0.0.1:8080", "http://127.0.0.1:8080/",
                           "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/"}) {
    auto url = parse_url(text);
    ASSERT_TRUE(url.ok()) << text;
    EXPECT_EQ(url->host, "127.0.0.1");
    EXPECT_EQ(url->port, 8080);
    EXPECT_FALSE(url->tls);
    EXPECT_EQ(url->text(), "http://127.0.0.1:8080/v1");
  }
}

TEST(ServerUrl, KeepsAPathOfItsOwn) {
  auto url = parse_url("https://example.org/proxy/openai/v1");
  ASSERT_TRUE(url.ok());
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->port, 443);
  EXPECT_EQ(url->base, "/proxy/openai/v1");
  EXPECT_EQ(url->authority(), "example.org");
}

TEST(ServerUrl, PortsAndAddressesOfBothKinds) {
  EXPECT_EQ(parse_url("http://a")->port, 80);
  EXPECT_EQ(parse_url("https://a:80")->authority(), "a:80");
  EXPECT_EQ(parse_url("http://a:443")->authority(), "a:443");
  auto six = parse_url("http://[::1]:9000");
  ASSERT_TRUE(six.ok());
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->authority(), "[::1]:9000");
  EXPECT_EQ(parse_url("http://[::1]")->authority(), "[::1]");
}

TEST(ServerUrl, RefusesWhatIsNoUrl) {
  for (const char* text :
       {"", "127.0.0.1:8080", "ftp://a", "http://", "http:///v1", "http://a:0", "http://a:65536",
        "http://a:x", "http://user@a", "http://a/v1?x=1", "http://a/v1#x", "http://a b",
        "http://a/ v1", "http://a/\r\nHost: b", "http://a\n", "http://[::1", "HTTP://a"}) {
    auto url = parse_url(text);
    ASSERT_FALSE(url.ok()) << text;
    EXPECT_EQ(url.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(url.error().message, testing::HasSubstr("http://HOST[:PORT]"));
  }
}

}  // namespace
}  // namespace tandem::client
