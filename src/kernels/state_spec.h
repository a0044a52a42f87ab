#pragma once
// What a layer without keys and values keeps of a sequence (free of MLX, for the loops).

#include <cstddef>
#include <variant>

#include "kernels/kv_spec.h"
#include "tandem/dtype.h"

namespace tandem::kernels {

/// The state of a recurrent layer: the last inputs of its causal convolution, and for each head a
/// float32 matrix that the tokens are folded into. All of it is zero before the first token.
struct StateSpec {
  int conv_rows = 0;              // inputs: one less than the convolution has taps
  int channels = 0;               // of an input
  DType conv_type = DType::kF32;  // of inputs: the activations', kF32 or kBF16
  int heads = 0;
  int key_dim = 0;    // columns of a head's matrix
  int value_dim = 0;  // rows
};

/// Where things lie in a layer's part of a sequence's slot: inputs [conv_rows][channels], the
/// newest last, then for each head its matrix in tiles of kTileRows rows, a tile [key_dim][16], so
/// that rows are lanes. Rows of a last tile that is not full stay zero. What else a slot is to keep
/// (inputs of tokens that may be taken back) has room behind.
struct StateLayout {
  static constexpr std::size_t kTileRows = 16;

  std::size_t tiles = 0;        // of a head
  std::size_t tile_floats = 0;  // of a tile
  std::size_t matrices = 0;     // bytes before the first matrix
  std::size_t bytes = 0;        // of a layer; a multiple of 64

  explicit StateLayout(const StateSpec& spec);
};

/// What a layer keeps of a sequence: keys and values of every token, or a state of all tokens.
using LayerKept = std::variant<KvSpec, StateSpec>;

/// Bytes of kPageTokens tokens of a layer with keys and values, or of a state.
std::size_t page_bytes(const LayerKept& kept);

}  // namespace tandem::kernels
