#include "kernels/cpu/product.h"

#include <algorithm>
#include <vector>

#include "base/thread_pool.h"

namespace tandem::kernels {
namespace {

// Work that is worth a chunk of its own, in bytes of tiles read once: a few microseconds.
constexpr std::int64_t kChunkBytes = 65536;
// Rows that cost as much as reading the tile.
constexpr std::int64_t kRowsPerRead = 4;
constexpr std::int64_t kQuantizedChunk = 8192;  // elements

}  // namespace

void in_parallel(ThreadPool* pool, std::int64_t n, std::int64_t grain,
                 const std::function<void(std::int64_t, std::int64_t, int)>& body) {
  if (pool != nullptr) return pool->parallel_for(n, grain, body);
  if (n > 0) body(0, n, 0);
}

void multiply(const ProductLoops& loops, ThreadPool* pool, std::span<const Product> products) {
  std::vector<std::int64_t> first;  // of each product, then the end
  first.reserve(products.size() + 1);
  std::int64_t tiles = 0;
  std::int64_t bytes = 0;
  for (const Product& product : products) {
    first.push_back(tiles);
    const std::int64_t own = tile_count(product.w.rows);
    tiles += own;
    bytes += own * static_cast<std::int64_t>(product.w.tile_bytes) *
             std::max<std::int64_t>(1, product.count / kRowsPerRead);
  }
  first.push_back(tiles);
  if (tiles == 0) return;
  const std::int64_t bytes_per_tile = std::max<std::int64_t>(1, bytes / tiles);
  const std::int64_t grain = std::max<std::int64_t>(1, kChunkBytes / bytes_per_tile);
  in_parallel(pool, tiles, grain, [&](std::int64_t begin, std::int64_t end, int) {
    auto at = static_cast<std::size_t>(std::upper_bound(first.begin(), first.end(), begin) -
                                       first.begin() - 1);
    for (; at < products.size() && first[at] < end; ++at) {
      loops.multiply(products[at], static_cast<int>(std::max(begin, first[at]) - first[at]),
                     static_cast<int>(std::min(end, first[at + 1]) - first[at]));
    }
  });
}

void quantize(const ProductLoops& loops, ThreadPool* pool, const float* x, const Int8Rows& to,
              std::int64_t rows) {
  const std::int64_t grain = std::max<std::int64_t>(1, kQuantizedChunk / std::max(1, to.cols));
  in_parallel(pool, rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    loops.quantize(x, to, begin, end);
  });
}

}  // namespace tandem::kernels
