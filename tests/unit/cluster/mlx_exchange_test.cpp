#include "cluster/link/mlx_exchange.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

namespace tandem::cluster {
namespace {

// All ranks of a group, with an all_gather that insists on equal sizes.
class Group {
 public:
  explicit Group(int size) {
    for (int i = 0; i < size; ++i) ranks.emplace_back(9, i, size);
  }

  std::vector<std::byte> gather(bool closing = false) {
    std::vector<std::byte> slots;
    for (MlxExchange& rank : ranks) {
      EXPECT_EQ(rank.slot_bytes(), ranks[0].slot_bytes());
      std::vector<std::byte> slot(rank.slot_bytes());
      rank.fill(slot, closing);
      slots.insert(slots.end(), slot.begin(), slot.end());
    }
    return slots;
  }

  std::vector<MlxExchange> ranks;
};

std::string random_frame(std::mt19937& random, std::size_t most) {
  std::string frame(random() % (most + 1), '\0');
  for (std::size_t i = 0; i < frame.size(); i += 1 + random() % 97) {
    frame[i] = static_cast<char>(random());
  }
  return frame;
}

TEST(MlxExchange, AllRanksAlwaysCountOnTheSameSlotAndEveryFrameArrivesOnceInOrder) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    const int size = 2 + static_cast<int>(random() % 5);
    Group group(size);
    std::vector<std::deque<std::string>> on_the_way(static_cast<std::size_t>(size));
    for (int step = 0; step < 60; ++step) {
      for (int r = 0; r < size; ++r) {
        MlxExchange& rank = group.ranks[static_cast<std::size_t>(r)];
        if (rank.busy() || random() % 3 == 0) continue;
        const std::size_t most = random() % 5 == 0 ? 200000 : 20000;
        std::string frame = random_frame(random, most);
        on_the_way[static_cast<std::size_t>(r)].push_back(frame);
        rank.set_frame(std::move(frame));
      }
      const auto slots = group.gather();
      for (int r = 0; r < size; ++r) {
        const auto got = group.ranks[static_cast<std::size_t>(r)].take(slots);
        ASSERT_TRUE(got.ok()) << got.error().message;
        if (!got->frame) continue;
        auto& queue = on_the_way[static_cast<std::size_t>((r + size - 1) % size)];
        ASSERT_FALSE(queue.empty());
        EXPECT_EQ(*got->frame, queue.front());
        queue.pop_front();
      }
    }
    for (int r = 0; r < size; ++r) {
      EXPECT_EQ(group.ranks[static_cast<std::size_t>(r)].busy(),
                !on_the_way[static_cast<std::size_t>(r)].empty());
    }
  }
}

TEST(MlxExchange, AFrameLargerThanTheSlotNeedsOneMoreExchange) {
  Group group(3);
  const std::string frame(3 << 20, 'h');
  group.ranks[1].set_frame(frame);
  for (int step = 0; step < 2; ++step) {
    const auto slots = group.gather();
    for (int r = 0; r < 3; ++r) {
      const auto got = group.ranks[static_cast<std::size_t>(r)].take(slots);
      ASSERT_TRUE(got.ok());
      EXPECT_EQ(got->frame.has_value(), step == 1 && r == 2);
      if (got->frame) {
        EXPECT_EQ(*got->frame, frame);
      }
    }
  }
}

TEST(MlxExchange, HiddenStatesGoOnThroughTheMiddleInOneExchangeEach) {
  Group group(5);  // gateway and four stages
  const std::string frame(1 << 20, 'h');
  group.ranks[1].set_frame(frame);
  int exchanges = 0;
  for (int at = 1; at < 4; ++at) {
    std::optional<std::string> arrived;
    while (!arrived) {
      const auto slots = group.gather();
      ++exchanges;
      for (int r = 0; r < 5; ++r) {
        auto got = group.ranks[static_cast<std::size_t>(r)].take(slots);
        ASSERT_TRUE(got.ok());
        if (got->frame) arrived = std::move(got->frame);
      }
    }
    group.ranks[static_cast<std::size_t>(at + 1)].set_frame(*arrived);
  }
  EXPECT_EQ(exchanges, 4);  // two for the first hop, one for each of the others
  // A large frame is not paid for by the exchanges after it.
  for (int i = 0; i < 3; ++i) {
    const auto slots = group.gather();
    for (MlxExchange& rank : group.ranks) ASSERT_TRUE(rank.take(slots).ok());
  }
  EXPECT_LE(group.ranks[0].slot_bytes(), std::size_t{64} << 10);
}

TEST(MlxExchange, DecodeFramesNeedOneExchangeAHop) {
  Group group(3);
  int exchanges = 0;
  int arrivals = 0;
  const std::string sizes[] = {std::string(60, 't'), std::string(14500, 'h'), std::string(30, 'r')};
  for (int token = 0; token < 50; ++token) {
    for (std::size_t r = 0; r < 3; ++r) {
      group.ranks[r].set_frame(sizes[r]);
      bool arrived = false;
      while (!arrived) {
        const auto slots = group.gather();
        ++exchanges;
        for (std::size_t to = 0; to < 3; ++to) {
          const auto got = group.ranks[to].take(slots);
          ASSERT_TRUE(got.ok());
          arrived = arrived || got->frame.has_value();
        }
      }
      ++arrivals;
    }
  }
  EXPECT_EQ(exchanges, arrivals);
}

TEST(MlxExchange, TheGatewaysGoodbyeReachesAll) {
  Group group(3);
  const auto slots = group.gather(true);
  for (MlxExchange& rank : group.ranks) {
    const auto got = rank.take(slots);
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(got->closing);
  }
}

TEST(MlxExchange, ARankOfAnotherPlanIsNamed) {
  MlxExchange gateway(9, 0, 2);
  MlxExchange stage(8, 1, 2);
  std::vector<std::byte> slots(2 * gateway.slot_bytes());
  const std::span<std::byte> all(slots);
  gateway.fill(all.first(gateway.slot_bytes()), false);
  stage.fill(all.last(gateway.slot_bytes()), false);
  const auto got = gateway.take(slots);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().message, "mlx exchange: rank 0 is of another epoch");
}

TEST(MlxExchange, RandomSlotsNeverCrash) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    Group group(2);
    group.ranks[1].set_frame(random_frame(random, 40000));
    auto slots = group.gather();
    const std::size_t base = random() % 2 * group.ranks[0].slot_bytes();
    for (int i = 0; i < 3; ++i) {
      slots[base + random() % kSlotHeaderBytes] = static_cast<std::byte>(random());
    }
    refused += group.ranks[0].take(slots).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 10000);
}

}  // namespace
}  // namespace tandem::cluster
