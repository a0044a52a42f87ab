#pragma once
// Products of one instruction set against a twin in double, free of MLX and of the test framework,
// for CPUs that only an emulator offers here.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/cpu/product.h"
#include "loop_values.h"

namespace tandem::kernels {

/// A random matrix in tiles and its elements in double.
struct TiledValues {
  TileMatrix w;
  std::vector<std::byte> bytes;
  std::vector<float> values;  // [rows][cols]
};

inline std::uint32_t stored_bits(DType type, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (type == DType::kF32) return bits;
  if (type == DType::kBF16) return bits >> 16;
  // Normal numbers of float16 only: sign, exponent less 112, the top ten bits.
  return (bits >> 16 & 0x8000U) | (((bits >> 13) - (112U << 10)) & 0x7FFFU);
}

inline std::vector<std::byte> stored_values(DType type, std::size_t n, float low, Rng& rng) {
  std::uniform_real_distribution<float> size(low, 1);
  std::vector<std::byte> bytes(n * size_of(type));
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t bits = stored_bits(type, (rng() & 1U) != 0 ? size(rng) : -size(rng));
    std::memcpy(bytes.data() + i * size_of(type), &bits, size_of(type));
  }
  return bytes;
}

inline TiledValues tiled_values(TileMatrix shape, Rng& rng) {
  TiledValues m;
  const auto elements = static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.cols);
  std::vector<std::byte> weight;
  std::vector<std::byte> scales;
  std::vector<std::byte> biases;
  if (shape.format.bits == 0) {
    weight = stored_values(shape.format.type, elements, 0.01F, rng);
  } else {
    weight.resize(elements * static_cast<std::size_t>(shape.format.bits) / 8);
    for (std::byte& b : weight) b = static_cast<std::byte>(rng());
    const std::size_t groups = elements / static_cast<std::size_t>(shape.format.group);
    scales = stored_values(shape.format.type, groups, 0.01F, rng);
    biases = stored_values(shape.format.type, groups, 0.01F, rng);
  }
  shape.tile_bytes = tile_bytes(shape);
  const RowMajor source = {weight.data(), scales.data(), biases.data()};
  const auto tiles = static_cast<std::size_t>(tile_count(shape.rows));
  m.bytes.resize(tiles * shape.tile_bytes + kVectorBytes);
  const auto address = reinterpret_cast<std::uintptr_t>(m.bytes.data());
  std::byte* start = m.bytes.data() + (kVectorBytes - address % kVectorBytes) % kVectorBytes;
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    pack_tile(shape, source, static_cast<int>(tile), start + tile * shape.tile_bytes);
  }
  shape.tiles = start;
  m.w = shape;
  m.values.resize(elements);
  for (int row = 0; row < shape.rows; ++row) {
    dequantize_row(shape.format, shape.cols, source, row,
                   m.values.data() + std::ptrdiff_t{row} * shape.cols);
  }
  return m;
}

/// Rows of int8 with their memory.
struct QuantizedRows {
  std::vector<std::int8_t> q;
  std::vector<float> scales;
  std::vector<float> sums;
  std::vector<std::int32_t> counts;
  Int8Rows rows;

  QuantizedRows(const ProductLoops& loops, const std::vector<float>& x, int cols, int group)
      : q(x.size()),
        scales(x.size() / static_cast<std::size_t>(group)),
        sums(scales.size()),
        counts(scales.size()) {
    rows = {q.data(), scales.data(), sums.data(), counts.data(), cols, group};
    loops.quantize(x.data(), rows, 0, static_cast<std::int64_t>(x.size()) / cols);
  }
};

/// Whether the loops agree with double arithmetic on this matrix, in any number of rows.
inline bool product_passes(const ProductLoops& loops, const TiledValues& m, bool int8, Rng& rng) {
  constexpr int kTokens = 21;  // passes of many rows and of the rest
  const auto cols = static_cast<std::size_t>(m.w.cols);
  const auto rows = static_cast<std::size_t>(m.w.rows);
  std::vector<float> x = random_values(rng, kTokens * cols, 1);
  std::optional<QuantizedRows> quantized;
  if (int8) quantized.emplace(loops, x, m.w.cols, m.w.format.group);
  std::vector<float> y(kTokens * rows);
  Product product;
  product.w = m.w;
  product.count = kTokens;
  product.y_stride = rows;
  product.y = y.data();
  if (int8) {
    product.int8 = &quantized->rows;
  } else {
    product.x = x.data();
  }
  loops.multiply(product, 0, tile_count(m.w.rows));
  if (int8) {  // the twin multiplies what the int8 rows stand for
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float scale = quantized->scales[i / static_cast<std::size_t>(m.w.format.group)];
      const float back = scale * static_cast<float>(quantized->q[i]);
      if (!(std::abs(back - x[i]) <= 0.501F * scale)) return false;
      x[i] = back;
    }
  }
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t row = 0; row < rows; ++row) {
      double want = 0;
      double size = 1e-6;
      for (std::size_t i = 0; i < cols; ++i) {
        const double term = double{m.values[row * cols + i]} * x[t * cols + i];
        want += term;
        size += std::abs(term);
      }
      if (!(std::abs(y[t * rows + row] - want) <= 1e-5 * size)) return false;
    }
  }
  for (std::int32_t t = 0; t < kTokens; ++t) {
    std::vector<float> alone(rows);
    Product one = product;
    const std::int32_t zero = 0;
    one.count = 1;
    one.in = &t;
    one.out = &zero;
    one.y = alone.data();
    // Tiles one by one, as threads may take them. The float twin above has changed no bits of x.
    for (int tile = 0; tile < tile_count(m.w.rows); ++tile) loops.multiply(one, tile, tile + 1);
    const float* together = y.data() + static_cast<std::size_t>(t) * rows;
    if (std::memcmp(alone.data(), together, rows * sizeof(float)) != 0) return false;
  }
  return true;
}

/// Prints what fails; true when nothing does.
inline bool products_pass(const char* name, const ProductLoops& loops) {
  constexpr unsigned kSeed = 20240615;
  Rng rng(kSeed);
  bool pass = true;
  const auto expect = [&](bool good, const TileMatrix& w, const char* kind) {
    if (!good) {
      std::printf("%s: product %s of %d bits, group %d, stored %d, %d x %d fails (seed %u)\n", name,
                  kind, w.format.bits, w.format.group, static_cast<int>(w.format.type), w.rows,
                  w.cols, kSeed);
    }
    pass = pass && good;
  };
  for (const DType stored : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const auto& [rows, cols] : {std::pair{1, 1}, {16, 7}, {37, 300}, {64, 33}}) {
      const TiledValues m = tiled_values({nullptr, 0, rows, cols, {0, 0, stored}}, rng);
      expect(product_passes(loops, m, false, rng), m.w, "in float32");
    }
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      for (const int group : {32, 64, 128}) {
        const TiledValues m = tiled_values({nullptr, 0, 37, 3 * group, {bits, group, stored}}, rng);
        expect(product_passes(loops, m, false, rng), m.w, "in float32");
        expect(product_passes(loops, m, true, rng), m.w, "in int8");
      }
    }
  }
  return pass;
}

}  // namespace tandem::kernels
