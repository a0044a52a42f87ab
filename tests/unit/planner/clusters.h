#pragma once
// Models and machines for the planner's tests.

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "planner/planner.h"

namespace tandem::planner {

constexpr std::uint64_t kMB = 1'000'000;

/// `count` equal layers of `bytes`, and no embedding or head worth speaking of.
inline Model even_model(int count, std::uint64_t bytes) {
  ModelShape shape;
  LayerShape layer;
  layer.weights = {bytes, 0, bytes, 2.0 * static_cast<double>(bytes)};
  layer.depth_flops = 100;
  layer.kv_page = 64 * 1000;
  shape.layers.assign(static_cast<std::size_t>(count), layer);
  shape.steps = {{64, kMB, kMB}, {2048, 20 * kMB, 20 * kMB}};
  shape.hop_row = 4096;
  return {shape, shape};
}

inline Machine machine(const std::string& name, std::uint64_t memory, double gigabytes_a_second,
                       double tflops = 10) {
  return {name, memory, gigabytes_a_second * 1e9, tflops * 1e12, true};
}

inline std::vector<Machine> machines(int count, const Machine& like) {
  std::vector<Machine> out;
  for (int i = 0; i < count; ++i) {
    out.push_back(like);
    out.back().name = like.name + std::to_string(i);
  }
  return out;
}

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  int whole(int least, int most) { return std::uniform_int_distribution(least, most)(random_); }
  double real(double least, double most) {
    return std::uniform_real_distribution(least, most)(random_);
  }
  bool chance(double part) { return real(0, 1) < part; }

 private:
  std::mt19937 random_;
};

inline Weights random_weights(Dice& dice) {
  const auto bytes = static_cast<std::uint64_t>(dice.whole(1, 400)) * kMB;
  return {bytes, static_cast<std::uint64_t>(dice.whole(0, 20)) * kMB, bytes / 2,
          static_cast<double>(bytes) * dice.real(0.5, 20)};
}

inline ModelShape random_shape(Dice& dice, int layers) {
  ModelShape shape;
  for (int i = 0; i < layers; ++i) {
    LayerShape layer;
    layer.weights = random_weights(dice);
    layer.kv_page = static_cast<std::uint64_t>(dice.whole(1, 20)) * 10'000;
    layer.depth_flops = dice.real(0, 1e4);
    if (dice.chance(0.3)) layer.window = static_cast<std::uint32_t>(dice.whole(1, 2000));
    if (dice.chance(0.4)) {
      layer.experts = dice.whole(2, 64);
      layer.chosen = dice.whole(1, layer.experts);
      layer.expert = layer.weights.bytes / 2 / static_cast<std::uint64_t>(layer.experts);
    }
    shape.layers.push_back(layer);
  }
  shape.embedding = random_weights(dice);
  shape.head = random_weights(dice);
  shape.tied = dice.chance(0.3);
  if (shape.tied) shape.head.bytes = shape.embedding.bytes;
  shape.steps = {{64, 2 * kMB, 5 * kMB}, {512, 16 * kMB, 30 * kMB}};
  shape.hop_row = static_cast<std::uint64_t>(dice.whole(1, 30)) * 1000;
  return shape;
}

inline Model random_model(Dice& dice, int layers) {
  Model model;
  model.cpu = random_shape(dice, layers);
  model.gpu = model.cpu;
  for (LayerShape& layer : model.gpu.layers) layer.window = 0;
  return model;
}

/// Some machines are twins, so that classes are more than one machine.
inline Inventory random_inventory(Dice& dice, int count) {
  std::vector<Machine> out;
  for (int i = 0; i < count; ++i) {
    Machine each = machine("", static_cast<std::uint64_t>(dice.whole(100, 2500)) * kMB,
                           dice.real(5, 800), dice.real(0.5, 30));
    each.gpu = dice.chance(0.5);
    if (i > 0 && dice.chance(0.4)) each = out.back();
    each.name = "m" + std::to_string(i);
    out.push_back(each);
  }
  Inventory inventory = connected(std::move(out), {dice.real(0, 0.02), dice.real(1e6, 1e9)});
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < i; ++j) {
      if (dice.chance(0.5)) continue;
      const Link link{dice.real(0, 0.02), dice.real(1e6, 1e9)};
      inventory.links[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] = link;
      inventory.links[static_cast<std::size_t>(j)][static_cast<std::size_t>(i)] = link;
    }
  }
  return inventory;
}

}  // namespace tandem::planner
