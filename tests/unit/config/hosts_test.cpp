#include "config/hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tandem::config {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const Result<HostFile>& result) {
  return result.ok() ? "accepted" : result.error().message;
}

TEST(Hosts, NamesAddressesAndPorts) {
  const struct {
    const char* text;
    Host host;
  } cases[] = {{"10.0.0.1", {"10.0.0.1", kDefaultWorkerPort, {}}},
               {"10.0.0.1:1", {"10.0.0.1", 1, {}}},
               {"mac-1.local:65535", {"mac-1.local", 65535, {}}},
               {"[::1]:4820", {"::1", 4820, {}}},
               {"[fe80::1%en0]", {"fe80::1%en0", kDefaultWorkerPort, {}}},
               {"fe80::1", {"fe80::1", kDefaultWorkerPort, {}}}};
  for (const auto& [text, host] : cases) {
    const auto parsed = parse_host(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.error().message;
    EXPECT_EQ(*parsed, host) << text;
    EXPECT_EQ(*parse_host(to_string(host)), host) << "written and read again";
  }
}

TEST(Hosts, BadOnesAreRefusedByName) {
  for (const char* text : {"", ":4820", "host:", "host:0", "host:65536", "host:-1", "host:12x",
                           "host:99999999999999999999", "[::1", "[::1]4820", "[]:1", "-oProxy:1",
                           "a b", "a\nb", "host;rm", "host/x", "$(x)", "h\xc3\xa4", "[::1]:"}) {
    const auto parsed = parse_host(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  }
  EXPECT_FALSE(parse_host(std::string(300, 'a')).ok());
}

TEST(Hosts, ListsKeepTheirOrder) {
  const auto hosts = parse_hosts("b:2, a:1 ,[::1]:3");
  ASSERT_TRUE(hosts.ok());
  ASSERT_EQ(hosts->size(), 3);
  EXPECT_EQ((*hosts)[0].name, "b");
  EXPECT_EQ((*hosts)[2].name, "::1");
}

TEST(Hosts, EmptyEntriesAndDuplicatesOfAListAreErrors) {
  for (const char* list : {"", ",", "a,", ",a", "a,,b"}) {
    const auto hosts = parse_hosts(list);
    ASSERT_FALSE(hosts.ok()) << list;
    EXPECT_EQ(hosts.error().message.find("--hosts"), std::string::npos) << "the flag says it";
  }
  const auto twice = parse_hosts("a:1,b,a:1");
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().message, "a:1 is listed twice");
  EXPECT_FALSE(parse_hosts("a,a:4820").ok()) << "the default port is the same port";
  EXPECT_TRUE(parse_hosts("a:1,a:2").ok());
  std::string many = "h";
  for (std::size_t i = 0; i < kMaxHosts; ++i) many += ",h" + std::to_string(i);
  EXPECT_FALSE(parse_hosts(many).ok());
}

TEST(HostFile, BothShapesOfMlxLaunchAreRead) {
  const std::string list = R"([{"ssh": "me@mac1", "ips": ["10.0.0.1"], "rdma": [null, null]},
                              {"ssh": "mac2.local", "rdma": null}, {"ips": ["10.0.0.3:9000"]},
                              {"ips": ["10.0.0.4"], "port": 7, "model": "/m"}])";
  for (const std::string& text :
       {list, R"({"backend": "ring", "envs": [], "hosts": )" + list + "}"}) {
    const auto file = parse_hostfile(text, "hosts.json");
    ASSERT_TRUE(file.ok()) << file.error().message;
    ASSERT_EQ(file->hosts.size(), 4);
    EXPECT_EQ(to_string(file->hosts[0]), "10.0.0.1:4820");
    EXPECT_EQ(to_string(file->hosts[1]), "mac2.local:4820");
    EXPECT_EQ(to_string(file->hosts[2]), "10.0.0.3:9000");
    EXPECT_EQ(to_string(file->hosts[3]), "10.0.0.4:7");
    EXPECT_EQ(file->hosts[3].model, "/m");
  }
  EXPECT_TRUE(parse_hostfile("\xEF\xBB\xBF"
                             "[{\"ssh\":\"a\"}]\r\n",
                             "f")
                  .ok())
      << "BOM and CRLF";
}

TEST(HostFile, EveryMistakeNamesTheFileAndThePlace) {
  const struct {
    const char* text;
    const char* expected;
  } cases[] = {
      {"", "f.json"},
      {"[]", "1 to 1024 entries"},
      {"{}", "\"hosts\" is missing"},
      {"7", "list"},
      {"[1]", "hosts[0] must be an object"},
      {R"([{"ssh": "a"}, {"ssh": "b", "ports": 1}])", "hosts[1]: unknown key \"ports\""},
      {R"({"hosts": [{"ssh": "a"}], "rank": 1})", "unknown key \"rank\""},
      {R"({"hosts": [{"ssh": "a"}], "backend": "udp"})", "backend"},
      {R"([{"ssh": "a", "port": 0}])", "port"},
      {R"([{"ssh": "a", "port": 65536}])", "port"},
      {R"([{"ssh": "a", "port": "1"}])", "port"},
      {R"([{"ips": ["10.0.0.1:0"]}])", "port"},
      {R"([{"ips": ["10.0.0.1:5"], "port": 6}])", "disagree"},
      {R"([{"ips": ["h:4820"], "port": 5000}])", "port 5000 and address \"h:4820\" disagree"},
      {R"([{"ips": []}])", "needs an address"},
      {R"([{"ips": "10.0.0.1"}])", "ips"},
      {R"([{"ips": [1]}])", "ips"},
      {R"([{"ssh": "a", "rdma": "en5"}])", "rdma: tandem uses no RDMA devices"},
      {R"([{"ssh": "a", "rdma": [null, "rdma_en5"]}])", "rdma: tandem uses no RDMA devices"},
      {R"({"hosts": [{"ssh": "a"}], "envs": ["A=b"]})", "envs"},
      {R"({"hosts": [{"ssh": "a"}], "backend": "jaccl-ring"})", "backend"},
      {R"([{"ssh": "a"}, {"ips": ["a"]}])", "a:4820 is listed twice"},
      {R"([{"ssh": "a", "ssh": "b"}])", "f.json"},
      {R"([{"ssh": "a;b"}])", "hosts[0]"},
      {R"([{"ssh": "a"}] x)", "f.json"},
  };
  for (const auto& [text, expected] : cases) {
    const std::string message = refusal(parse_hostfile(text, "f.json"));
    EXPECT_THAT(message, AllOf(HasSubstr("f.json"), HasSubstr(expected))) << text;
  }
}

TEST(HostFile, AMissingFileIsNamed) {
  const auto file = load_hostfile("/nowhere/hosts.json");
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message, HasSubstr("hosts.json"));
}

TEST(HostFiles, SayWhatEachHostGives) {
  const auto file = parse_hostfile(
      R"([{"ips": ["10.0.0.1"], "device": "gpu", "memory": "12G", "layers": "0-19"},
          {"ips": ["10.0.0.2"], "kv_memory": "2G", "threads": 8, "layers": "20-27"}])",
      "h.json");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const Host& first = file->hosts[0];
  EXPECT_EQ(first.gpu, true);
  EXPECT_EQ(first.memory_bytes, 12'000'000'000U);
  EXPECT_EQ(first.layers, (LayerRange{0, 20}));
  const Host& second = file->hosts[1];
  EXPECT_EQ(second.gpu, std::nullopt);
  EXPECT_EQ(second.kv_bytes, 2'000'000'000U);
  EXPECT_EQ(second.threads, 8);
}

TEST(HostFiles, BadPlacesAreRefusedByField) {
  const struct {
    const char* fields;
    const char* words;
  } cases[] = {{R"("device": "tpu")", "device"},
               {R"("memory": "much")", "memory"},
               {R"("kv_memory": "0")", "kv_memory"},
               {R"("memory": 12)", "memory"},
               {R"("threads": -1)", "threads"},
               {R"("layers": "5-3")", "layers"},
               {R"("layers": "1-3")", "must begin with 0"}};
  for (const auto& [fields, words] : cases) {
    const std::string text = std::string(R"([{"ips": ["10.0.0.1"], )") + fields + "}]";
    EXPECT_THAT(refusal(parse_hostfile(text, "h.json")), HasSubstr(words)) << fields;
  }
  EXPECT_THAT(refusal(parse_hostfile(
                  R"([{"ips": ["10.0.0.1"], "layers": "0-3"}, {"ips": ["10.0.0.2"]}])", "h.json")),
              HasSubstr("for all hosts or for none"));
}

}  // namespace
}  // namespace tandem::config
