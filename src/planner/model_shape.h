#pragma once
// A model as the planner sees it: what its layers weigh, read and compute. Plain numbers.

#include <cstdint>
#include <vector>

namespace tandem::planner {

/// Matrices of a part of the model.
struct Weights {
  std::uint64_t bytes = 0;    // once loaded
  std::uint64_t loading = 0;  // the most on top of that while they load
  std::uint64_t read = 0;     // that each step reads, whatever its rows; routed experts are apart
  double flops = 0;           // a row, a multiply-add counted as two; chosen experts included
};

struct LayerShape {
  Weights weights;
  std::uint64_t expert = 0;        // bytes of one routed expert; 0: none
  int experts = 0;                 // that a row's are chosen of
  int chosen = 0;                  // by a row
  double depth_flops = 0;          // attention's, a row and token that it sees
  std::uint64_t kv_page = 0;       // KV of kPageTokens tokens of one stream
  std::uint64_t kv_page_8bit = 0;  // the same with --kv-bits 8; 0: cannot be had, or is kv_page
  std::uint32_t window = 0;        // tokens that a query sees; 0: all before it
  std::uint64_t state = 0;         // of one stream whatever its tokens: a step reads and writes it
};

/// What computing a step of `rows` takes besides.
struct StepBytes {
  std::uint32_t rows = 0;
  std::uint64_t bytes = 0;  // of any rank but the last
  std::uint64_t last = 0;   // of the last one, which has the head
};

struct ModelShape {
  std::vector<LayerShape> layers;  // 1 to kLayersMax
  Weights embedding;               // of the first stage
  Weights head;                    // of the last stage
  bool tied = false;               // a stage that has both holds the head alone
  std::vector<StepBytes> steps;    // ascending, never empty
  std::uint64_t hop_row = 0;       // hidden states of a row, as they travel
};

inline constexpr std::size_t kLayersMax = 512;

/// The same layers on both kinds of devices.
struct Model {
  ModelShape cpu;
  ModelShape gpu;

  const ModelShape& on(bool with_gpu) const { return with_gpu ? gpu : cpu; }
  int layer_count() const { return static_cast<int>(cpu.layers.size()); }
};

/// Experts that a step of `rows` is expected to read, each row choosing evenly and on its own.
double expected_experts(const LayerShape& layer, double rows);

}  // namespace tandem::planner
