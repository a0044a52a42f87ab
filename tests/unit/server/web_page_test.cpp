#include "server/web/web_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace tandem::server {
namespace {

HttpRequest get(std::string path) {
  HttpRequest request;
  request.method = "GET";
  request.path = std::move(path);
  return request;
}

std::string value_of(const HttpResponse& response, const std::string& name) {
  for (const Header& header : response.headers) {
    if (header.name == name) return header.value;
  }
  return "";
}

std::string file_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(WebPage, ServesEveryFileOfTheFolderByteForByte) {
  const std::filesystem::path folder = std::filesystem::path(TANDEM_SOURCE_DIR) / "web";
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::string path = name == "index.html" ? "/" : "/web/" + name;
    const auto response = web_page(get(path));
    ASSERT_TRUE(response) << path;
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, file_text(entry.path())) << path;
    EXPECT_THAT(web_paths(), testing::Contains(path));
    EXPECT_NE(response->content_type, "application/octet-stream") << path;
    ++files;
  }
  EXPECT_GT(files, 3U);
  EXPECT_EQ(web_paths().size(), files);
}

TEST(WebPage, ForbidsForeignAndInlineScripts) {
  const auto response = web_page(get("/"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->content_type, "text/html; charset=utf-8");
  const std::string policy = value_of(*response, "Content-Security-Policy");
  EXPECT_THAT(policy, testing::HasSubstr("default-src 'none'; script-src 'self';"));
  EXPECT_THAT(policy, testing::Not(testing::HasSubstr("unsafe")));
  EXPECT_EQ(value_of(*response, "X-Content-Type-Options"), "nosniff");
}

TEST(WebPage, SaysNotModifiedToWhoKnowsTheFile) {
  HttpRequest request = get("/web/app.js");
  const auto first = web_page(request);
  ASSERT_TRUE(first);
  const std::string etag = value_of(*first, "ETag");
  EXPECT_EQ(etag.front(), '"');
  for (const std::string& known : {etag, "W/" + etag, "\"other\", " + etag, std::string("*")}) {
    request.headers = {{"if-none-match", known}};
    const auto again = web_page(request);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->status, 304) << known;
    EXPECT_TRUE(again->body.empty());
    EXPECT_EQ(value_of(*again, "ETag"), etag);
  }
  for (const char* other : {"\"other\"", "", ",,", "W/"}) {
    request.headers = {{"If-None-Match", other}};
    EXPECT_EQ(web_page(request)->status, 200) << other;
  }
}

TEST(WebPage, LeavesOtherPathsAloneAndTakesNoOtherMethods) {
  for (const char* path :
       {"/web/", "/web", "/web/index.html", "/web/../app.js", "/app.js", "", "/v1"}) {
    EXPECT_FALSE(web_page(get(path))) << path;
  }
  HttpRequest post = get("/");
  post.method = "POST";
  const auto response = web_page(post);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 405);
  EXPECT_EQ(value_of(*response, "Allow"), "GET, HEAD");
}

}  // namespace
}  // namespace tandem::server
