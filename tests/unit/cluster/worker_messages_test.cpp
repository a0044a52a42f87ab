// What gateway, worker and compute child say to each other: proofs, secrets, options.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cluster/trust/call_proof.h"
#include "cluster/trust/credentials.h"
#include "cluster/trust/secrets.h"
#include "cluster/wire/load_messages.h"
#include "cluster/wire/net_address.h"

namespace tandem::cluster {
namespace {

struct Greeted {
  explicit Greeted(const std::string& worker_key, const std::string& gateway_key)
      : book(worker_key), signer(gateway_key) {
    v1::HelloRequest request;
    request.set_nonce(signer.nonce());
    EXPECT_TRUE(book.open(request, reply).ok());
    accepted = signer.accept(reply);
  }
  SessionBook book;
  CallSigner signer;
  v1::HelloReply reply;
  Status accepted;
};

TEST(CallProof, AGatewayWithTheKeyMayCall) {
  for (const std::string key : {"", "a cluster key of some length"}) {
    Greeted greeted(key, key);
    ASSERT_TRUE(greeted.accepted.ok());
    for (int i = 0; i < 200; ++i) {
      EXPECT_TRUE(greeted.book.check(greeted.signer.sign("Load"), "Load").ok());
    }
  }
}

TEST(CallProof, AnotherKeyIsRefusedByBothSides) {
  Greeted greeted("key of the worker", "key of the gateway");
  EXPECT_FALSE(greeted.accepted.ok());
  EXPECT_FALSE(greeted.book.check(greeted.signer.sign("Load"), "Load").ok());
  Greeted keyless("key of the worker", "");
  EXPECT_FALSE(keyless.accepted.ok());
  EXPECT_THAT(keyless.accepted.error().message, testing::HasSubstr("wants a cluster key"));
  EXPECT_FALSE(keyless.book.check(keyless.signer.sign("Load"), "Load").ok());
}

TEST(CallProof, AProofIsGoodOnceAndForItsMethodOnly) {
  Greeted greeted("some cluster key", "some cluster key");
  const v1::CallProof proof = greeted.signer.sign("Load");
  EXPECT_FALSE(greeted.book.check(proof, "Stop").ok());
  EXPECT_TRUE(greeted.book.check(proof, "Load").ok());
  EXPECT_FALSE(greeted.book.check(proof, "Load").ok()) << "a replay";
  v1::CallProof forged = greeted.signer.sign("Load");
  forged.set_counter(forged.counter() + 1);
  EXPECT_FALSE(greeted.book.check(forged, "Load").ok());
}

TEST(CallProof, CallsSideBySideMayArriveOutOfOrder) {
  Greeted greeted("some cluster key", "some cluster key");
  std::vector<v1::CallProof> proofs;
  for (int i = 0; i < 60; ++i) proofs.push_back(greeted.signer.sign("Heartbeat"));
  for (auto proof = proofs.rbegin(); proof != proofs.rend(); ++proof) {
    EXPECT_TRUE(greeted.book.check(*proof, "Heartbeat").ok());
  }
  for (const v1::CallProof& proof : proofs) {
    EXPECT_FALSE(greeted.book.check(proof, "Heartbeat").ok()) << "a replay";
  }
}

TEST(CallProof, AProofOfAnotherSessionIsRefused) {
  Greeted first("some cluster key", "some cluster key");
  Greeted second("some cluster key", "some cluster key");
  EXPECT_FALSE(second.book.check(first.signer.sign("Load"), "Load").ok());
}

TEST(CallProof, StrangersCannotGrowTheBook) {
  SessionBook book("some cluster key");
  v1::HelloRequest request;
  v1::HelloReply reply;
  request.set_nonce("short");
  EXPECT_FALSE(book.open(request, reply).ok());
  request.set_nonce(make_nonce());
  for (std::size_t i = 0; i < 3 * kMaxSessions; ++i) EXPECT_TRUE(book.open(request, reply).ok());
}

TEST(CallProof, StrangersDoNotDisturbASessionThatProvedACall) {
  for (const std::string key : {"", "a cluster key of some length"}) {
    Greeted greeted(key, key);
    ASSERT_TRUE(greeted.book.check(greeted.signer.sign("Load"), "Load").ok());
    v1::HelloRequest request;
    v1::HelloReply reply;
    request.set_nonce(make_nonce());
    for (int i = 0; i < 300; ++i) ASSERT_TRUE(greeted.book.open(request, reply).ok());
    EXPECT_TRUE(greeted.book.check(greeted.signer.sign("Heartbeat"), "Heartbeat").ok());
  }
}

TEST(CallProof, AmongProvedSessionsTheOneSilentTheLongestGivesWay) {
  const std::string key = "a cluster key of some length";
  Greeted running(key, key);
  ASSERT_TRUE(running.book.check(running.signer.sign("Load"), "Load").ok());
  const auto another = [&] {
    auto signer = std::make_unique<CallSigner>(key);
    v1::HelloRequest request;
    v1::HelloReply reply;
    request.set_nonce(signer->nonce());
    EXPECT_TRUE(running.book.open(request, reply).ok());
    EXPECT_TRUE(signer->accept(reply).ok());
    EXPECT_TRUE(running.book.check(signer->sign("Load"), "Load").ok());
    return signer;
  };
  const auto silent = another();
  for (std::size_t i = 0; i < 3 * kMaxProvedSessions; ++i) {
    another();
    EXPECT_TRUE(running.book.check(running.signer.sign("Heartbeat"), "Heartbeat").ok());
  }
  EXPECT_FALSE(running.book.check(silent->sign("Stop"), "Stop").ok());
}

TEST(Secrets, RoundTrip) {
  const ChildSecrets secrets{{"cert\n", "private", "ca", std::string("\0\xff key", 6)}, "h:1"};
  const auto back = unpack_secrets(pack(secrets));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->credentials.key, secrets.credentials.key);
  EXPECT_EQ(back->credentials.certificate, "cert\n");
  EXPECT_EQ(back->listen, "h:1");
}

TEST(Secrets, AnyCutOrAddedByteIsRefused) {
  const std::string bytes = pack({{"c", "p", "a", "k"}, "127.0.0.1:0"});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(unpack_secrets(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(unpack_secrets(bytes + "x").ok());
}

v1::LoadRequest load_request() {
  stage::StageOptions options;
  options.folder = "/models/m";
  options.layers = {3, 9};
  options.activations = kernels::Activations::kBF16;
  options.isa = kernels::Isa::kPortable;
  options.kv_bits = 8;
  options.threads = 3;
  options.kv_bytes_max = 1 << 20;
  options.mlx_kernels = true;
  v1::LoadRequest request;
  put(options, request);
  return request;
}

TEST(LoadMessages, OptionsRoundTrip) {
  const auto options = take_options(load_request());
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->folder, "/models/m");
  EXPECT_EQ(options->layers, (LayerRange{3, 9}));
  EXPECT_EQ(options->activations, kernels::Activations::kBF16);
  EXPECT_EQ(options->isa, kernels::Isa::kPortable);
  EXPECT_EQ(options->kv_bits, 8);
  EXPECT_EQ(options->threads, 3);
  EXPECT_EQ(options->kv_bytes_max, 1U << 20);
  EXPECT_TRUE(options->mlx_kernels);
  EXPECT_FALSE(options->gpu);
}

TEST(LoadMessages, EachBadFieldIsRefusedByName) {
  const auto refusal = [](auto change) {
    v1::LoadRequest request = load_request();
    change(request);
    const auto options = take_options(request);
    return options.ok() ? std::string("accepted") : options.error().message;
  };
  using testing::HasSubstr;
  EXPECT_THAT(refusal([](auto& r) { r.clear_model(); }), HasSubstr("model"));
  EXPECT_THAT(refusal([](auto& r) { r.set_first_layer(-1); }), HasSubstr("layers"));
  EXPECT_THAT(refusal([](auto& r) { r.set_last_layer(3); }), HasSubstr("layers"));
  EXPECT_THAT(refusal([](auto& r) { r.set_last_layer(1 << 30); }), HasSubstr("layers"));
  EXPECT_THAT(refusal([](auto& r) { r.set_activations("f64"); }), HasSubstr("activations"));
  EXPECT_THAT(refusal([](auto& r) { r.set_isa("mmx"); }), HasSubstr("isa"));
  EXPECT_THAT(refusal([](auto& r) { r.set_kv_bits(4); }), HasSubstr("kv_bits"));
  EXPECT_THAT(refusal([](auto& r) { r.set_threads(-1); }), HasSubstr("threads"));
  EXPECT_THAT(refusal([](auto& r) { r.set_threads(1 << 20); }), HasSubstr("threads"));
}

TEST(LoadMessages, AWorkersWordAboutItsStageIsChecked) {
  StageInfo info;
  info.layers = {2, 4};
  info.layer_count = 7;
  info.hidden_size = 64;
  info.vocabulary = 100;
  info.context_max = 512;
  info.hidden_dtype = DType::kBF16;
  info.weight_bytes = 123;
  info.states = {{StateKind::kWindowed, 512, 4096},
                 {StateKind::kPaged, 0, 64},
                 {StateKind::kRecurrent, 0, 1 << 20}};
  v1::StageInfo wire;
  put(info, wire);
  const auto back = take_info(wire);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->layers, info.layers);
  EXPECT_EQ(back->hidden_dtype, DType::kBF16);
  EXPECT_EQ(back->weight_bytes, 123);
  EXPECT_EQ(back->states, info.states);
  for (auto change : std::vector<void (*)(v1::StageInfo&)>{
           [](v1::StageInfo& i) { i.set_last_layer(8); },
           [](v1::StageInfo& i) { i.set_last_layer(2); },
           [](v1::StageInfo& i) { i.set_hidden_size(0); },
           [](v1::StageInfo& i) { i.set_vocabulary(-1); },
           [](v1::StageInfo& i) { i.clear_hidden_dtype(); },
           [](v1::StageInfo& i) { *i.add_states() = i.states(0); },
           [](v1::StageInfo& i) { i.mutable_states(0)->clear_kind(); },
           [](v1::StageInfo& i) { i.mutable_states(0)->set_window(0); },
           [](v1::StageInfo& i) { i.mutable_states(1)->set_window(9); },
           [](v1::StageInfo& i) { i.mutable_states(1)->set_page_bytes(0); }}) {
    v1::StageInfo bad = wire;
    change(bad);
    EXPECT_FALSE(take_info(bad).ok());
  }
}

TEST(NetAddress, PartsOfAddresses) {
  EXPECT_EQ(port_of("127.0.0.1:4820"), 4820);
  EXPECT_EQ(port_of("[::1]:65535"), 65535);
  for (const char* bad : {"", "host", "host:", "host:0", "host:65536", "host:1x", "host:-1"}) {
    EXPECT_EQ(port_of(bad), 0) << bad;
  }
  EXPECT_EQ(host_of("10.0.0.1:4820"), "10.0.0.1");
  EXPECT_EQ(host_of("[fe80::1]:4820"), "fe80::1");
  EXPECT_TRUE(is_loopback_name("127.0.0.1"));
  EXPECT_TRUE(is_loopback_name("localhost"));
  EXPECT_TRUE(is_loopback_name("::1"));
  EXPECT_TRUE(is_loopback_name("0:0:0:0:0:0:0:1"));
  EXPECT_TRUE(is_loopback_name("::ffff:127.0.0.1"));
  EXPECT_FALSE(is_loopback_name("::2"));
  EXPECT_FALSE(is_loopback_name("127.0.0.1.9"));
  EXPECT_FALSE(is_loopback_name("127.evil.example"));
  EXPECT_FALSE(is_loopback_name("10.0.0.1"));
}

TEST(NetAddress, LoopbackSeesLoopback) {
  const auto own = local_address_towards({"127.0.0.1", 4820, {}});
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(*own, "127.0.0.1");
  EXPECT_EQ(*ip_of("127.0.0.1"), "127.0.0.1");
  EXPECT_GT(*free_port("127.0.0.1"), 0);
  EXPECT_FALSE(ip_of("no.such.host.invalid").ok());
}

}  // namespace
}  // namespace tandem::cluster
