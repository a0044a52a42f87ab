#pragma once
// Frames with every field set.

#include <cstddef>

#include "cluster/wire/frame.h"

namespace tandem::cluster::testing {

inline SamplingParams full_sampling() {
  SamplingParams s;
  s.temperature = 0.7F;
  s.top_p = 0.9F;
  s.top_k = 40;
  s.min_p = 0.05F;
  s.min_tokens_to_keep = 3;
  s.xtc_probability = 0.5F;
  s.xtc_threshold = 0.2F;
  s.xtc_special_tokens = {1, 2};
  s.repetition_penalty = 1.1F;
  s.repetition_context = 64;
  s.presence_penalty = -0.5F;
  s.presence_context = 65;
  s.frequency_penalty = 0.25F;
  s.frequency_context = 66;
  s.logit_bias = {{7, -100.0F}, {9, 3.5F}};
  s.seed = 0xFEDCBA9876543210ULL;
  return s;
}

inline Frame down_frame(int rows = 3, int cols = 8, DType dtype = DType::kBF16) {
  Frame frame;
  frame.tick.epoch = 7;
  frame.tick.number = 9;
  frame.tick.state_ops = {{StateOp::Kind::kFree, 1, 0, 0},
                          {StateOp::Kind::kRewind, 2, 0, 5},
                          {StateOp::Kind::kFork, 3, 4, 6}};
  TickEntry entry;
  entry.sequence = ~0ULL;
  entry.position = 11;
  for (int i = 0; i < rows; ++i) entry.tokens.push_back(100 + i);
  entry.wants = {{Want::Kind::kScore, 0, 101, 5, {}},
                 {Want::Kind::kDraw, 1, 0, 6, {0x80000001, 0, 0xFFFFFFFF}}};
  entry.sampling = full_sampling();
  entry.prompt = 13;
  TickEntry ahead;
  ahead.sequence = 6;
  ahead.tokens = {kDrawnToken, 5};
  ahead.drawn_in = 8;
  ahead.refused = Error{ErrorCode::kNotFound, "layers [0, 2): sequence 6 is unknown"};
  frame.tick.entries = {entry, ahead};
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows * cols) * size_of(dtype));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + 7);
  frame.hidden = {dtype, rows, cols, SharedBytes(std::move(bytes))};
  return frame;
}

inline Frame result_frame() {
  Frame frame;
  frame.tick.epoch = 7;
  frame.tick.number = 9;
  frame.result = TickResult{
      7,
      9,
      {{.sequence = 5, .tokens = {{42, -0.5F, {{42, -0.5F}, {43, -1.5F}}}, {40, -2.5F, {}}}},
       {.sequence = 6, .error = Error{ErrorCode::kResourceLimit, "no memory"}}}};
  return frame;
}

}  // namespace tandem::cluster::testing
