// A supervisor over real compute children, from plan to plan.

#include "cluster/rank/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "cluster/link/ring_end.h"
#include "cluster/split/model_hash.h"
#include "cluster/trust/secrets.h"
#include "cluster/wire/frame.h"
#include "cluster/wire/load_messages.h"
#include "cluster/wire/net_address.h"
#include "support/temp_folder.h"
#include "support/tiny_checkpoint.h"

namespace tandem::cluster {
namespace {

using tandem::testing::TempFolder;
using tandem::testing::TinyCheckpoint;
using ::testing::HasSubstr;

constexpr int kLayers = 4;
constexpr std::chrono::seconds kLong{30};

/// The first draw of a one-stage ring whose gateway is this process; the ring breaks with it.
class Ring {
 public:
  Ring(Supervisor& supervisor, std::uint64_t epoch, const std::string& link) {
    auto end = RingEnd::open({"grpc", "test", epoch, kGatewayRank, 1, "127.0.0.1:0", {}});
    EXPECT_TRUE(end.ok());
    end_ = std::move(*end);
    v1::StartRequest start;
    start.set_epoch(epoch);
    start.set_successor_address(end_->address());
    start.set_connect_ms(10'000);
    Status joined;
    std::thread rank([&] { joined = supervisor.join(start); });
    EXPECT_TRUE(end_->join({link, "", ""}, after(kLong)).ok());
    rank.join();
    EXPECT_TRUE(joined.ok()) << joined.error().message;
    epoch_ = epoch;
  }

  std::int32_t draw() {
    Frame frame;
    frame.tick.epoch = epoch_;
    frame.tick.number = 1;
    TickEntry entry;
    entry.sequence = 1;
    entry.tokens = {5, 17, 33, 8};
    entry.wants = {{.row = 3}};
    entry.sampling = SamplingParams{};
    entry.prompt = 4;
    frame.tick.entries = {entry};
    EXPECT_TRUE(end_->transport().send(encode(frame), after(kLong)).ok());
    auto bytes = end_->transport().receive(after(kLong));
    EXPECT_TRUE(bytes.ok());
    auto answer = decode(*bytes);
    EXPECT_TRUE(answer.ok() && answer->result && answer->result->entries.size() == 1);
    const EntryResult& drawn = answer->result->entries.front();
    EXPECT_FALSE(drawn.error) << drawn.error->message;
    return drawn.tokens.at(0).id;
  }

 private:
  std::unique_ptr<RingEnd> end_;
  std::uint64_t epoch_ = 0;
};

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() : SupervisorTest(ChildSecrets{}) {}
  explicit SupervisorTest(const ChildSecrets& secrets)
      : supervisor_(TANDEM_BINARY, pack(secrets)), thread_([this] { supervisor_.serve(); }) {
    TinyCheckpoint::llama(kLayers, false).write(folder_.path());
  }
  ~SupervisorTest() override {
    supervisor_.stop();
    thread_.join();
  }

  v1::LoadRequest request(std::uint64_t epoch, LayerRange layers) const {
    stage::StageOptions options;
    options.folder = folder_.path();
    options.layers = layers;
    options.threads = 1;
    options.kv_bytes_max = 1 << 20;
    v1::LoadRequest request;
    put(options, request);
    request.set_gateway("one");
    request.set_cluster("test");
    request.set_epoch(epoch);
    request.set_stages(1);
    request.set_transport("grpc");
    return request;
  }
  Result<v1::Loaded> load(const v1::LoadRequest& request) {
    return supervisor_.load(request, [](const auto&) {}, [] { return false; });
  }
  /// Bytes read from the folder for the range.
  std::uint64_t bytes_read(std::uint64_t epoch, LayerRange layers) {
    auto loaded = load(request(epoch, layers));
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    return loaded ? loaded->loaded_bytes() : 0;
  }
  /// The rank of the epoch after its ring broke.
  Error end_of(std::uint64_t epoch) {
    const auto rank = supervisor_.heartbeat(epoch);
    EXPECT_TRUE(rank && rank->wait_failed(after(kLong)));
    return {ErrorCode::kInternal, rank ? rank->heartbeat().error().message() : ""};
  }

  TempFolder folder_;
  Supervisor supervisor_;
  std::thread thread_;
};

TEST_F(SupervisorTest, AChildAdoptsJoinsAndRunsOneEpochAfterTheOther) {
  std::int32_t first = 0;
  for (std::uint64_t epoch = 1; epoch <= 4; ++epoch) {
    const auto loaded = load(request(epoch, {0, kLayers}));
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(loaded->loaded_bytes() == 0, epoch > 1) << "only the first epoch reads weights";
    {
      Ring ring(supervisor_, epoch, loaded->link_address());
      const std::int32_t drawn = ring.draw();
      if (epoch == 1) first = drawn;
      EXPECT_EQ(drawn, first);
    }
    EXPECT_THAT(end_of(epoch).message, HasSubstr("lost its link"));
    if (epoch % 2 == 0) supervisor_.release(epoch, true);  // as a gateway that said Stop
  }
}

TEST_F(SupervisorTest, AnotherPlanReadsWhatIsMissingAndDropsWhatIsNotWanted) {
  const std::uint64_t two = bytes_read(1, {1, 3});
  EXPECT_GT(two, 0);
  EXPECT_EQ(bytes_read(2, {1, 3}), 0);
  EXPECT_EQ(bytes_read(3, {2, 3}), 0);
  EXPECT_EQ(bytes_read(4, {1, 3}), two / 2) << "layer 1 was dropped";
  const std::uint64_t ends = bytes_read(5, {0, kLayers});
  EXPECT_GT(ends, two) << "layers 0 and 3, embedding and head";
  EXPECT_EQ(bytes_read(6, {3, kLayers}), 0) << "the head was held";
  const std::uint64_t begin = bytes_read(7, {0, 1});
  EXPECT_EQ(bytes_read(8, {3, kLayers}), ends - begin) << "layer 3 and the head were dropped";
}

TEST_F(SupervisorTest, AKilledChildReadsAllAgain) {
  const std::uint64_t all = bytes_read(1, {0, kLayers});
  supervisor_.heartbeat(1)->fail({ErrorCode::kInternal, "for the test"});
  EXPECT_EQ(bytes_read(2, {0, kLayers}), all);
}

TEST_F(SupervisorTest, LayersAreGivenUpWhenTheGatewayNeedsThemNoMoreOrAnotherComes) {
  const std::uint64_t all = bytes_read(1, {0, kLayers});
  supervisor_.release(1, false);
  EXPECT_EQ(bytes_read(2, {0, kLayers}), all);
  supervisor_.release(2, true);
  EXPECT_EQ(supervisor_.heartbeat(2), nullptr) << "the rank is given up, whatever is kept";
  auto other = request(3, {0, kLayers});
  other.set_gateway("another");
  const auto loaded = load(other);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->loaded_bytes(), all);
}

TEST_F(SupervisorTest, HeldWeightsCountUntilTheyAreDroppedOrTheirProcessIsGone) {
  EXPECT_EQ(supervisor_.held_bytes(), 0);
  const auto loaded = load(request(1, {0, kLayers}));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const std::uint64_t all = loaded->stage().weight_bytes();
  EXPECT_EQ(supervisor_.held_bytes(), all);
  supervisor_.release(1, true);
  EXPECT_EQ(supervisor_.held_bytes(), all);
  const auto fewer = load(request(2, {1, 3}));
  ASSERT_TRUE(fewer.ok()) << fewer.error().message;
  EXPECT_LT(fewer->stage().weight_bytes(), all);
  EXPECT_EQ(supervisor_.held_bytes(), fewer->stage().weight_bytes());
  supervisor_.release(2, false);
  const Deadline end = after(kLong);
  while (supervisor_.held_bytes() != 0 && Clock::now() < end) {
    std::this_thread::sleep_for(timing::kWatch);
  }
  EXPECT_EQ(supervisor_.held_bytes(), 0);
}

TEST_F(SupervisorTest, AnotherFineTuneInTheFolderIsReadAnewAndNeverMixed) {
  const auto before = model_hash(folder_.path());
  ASSERT_TRUE(before.ok());
  const std::uint64_t all = bytes_read(1, {0, kLayers});
  TinyCheckpoint::llama(kLayers, false, 2).write(folder_.path());
  auto old = request(2, {0, kLayers});
  old.set_model_hash(*before);
  const auto refused = load(old);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("not the gateway's model"));
  EXPECT_EQ(bytes_read(3, {0, kLayers}), all);
}

/// A worker whose ranks listen on one port.
class FixedPort : public SupervisorTest {
 protected:
  FixedPort() : FixedPort(*free_port("127.0.0.1")) {}
  explicit FixedPort(std::uint16_t port) : SupervisorTest(secrets(port)), port_(port) {}
  static ChildSecrets secrets(std::uint16_t port) {
    ChildSecrets secrets;
    secrets.listen = config::to_string({"127.0.0.1", port, {}});
    return secrets;
  }
  const std::uint16_t port_;
};

TEST_F(FixedPort, EveryEpochListensOnIt) {
  for (std::uint64_t epoch = 1; epoch <= 3; ++epoch) {
    const auto loaded = load(request(epoch, {0, kLayers}));
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(port_of(loaded->link_address()), port_);
    // The last one dies with its port.
    if (epoch == 2) supervisor_.heartbeat(epoch)->fail({ErrorCode::kInternal, "for the test"});
  }
}

TEST_F(FixedPort, AChildWhosePortIsStuckListensOnAnother) {
  ASSERT_TRUE(load(request(1, {0, kLayers})).ok());  // holds the port
  auto second = ComputeProcess::start(TANDEM_BINARY, pack(secrets(port_)));
  ASSERT_TRUE(second.ok());
  auto order = request(2, {0, kLayers});
  order.set_any_port(true);
  const auto loaded = (*second)->load(order, [](const auto&) {}, [] { return false; });
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_NE(port_of(loaded->link_address()), port_);
}

}  // namespace
}  // namespace tandem::cluster
