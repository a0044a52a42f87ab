#include "kernels/cpu/cpu_ops.h"

#include <memory>
#include <utility>

#include "base/thread_pool.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/mlx_stream.h"

namespace tandem::kernels {
namespace {

TileMatrix tile_shape(const MatrixData& data) {
  TileMatrix shape;
  shape.rows = data.rows;
  shape.cols = data.cols;
  shape.format = data.format();
  shape.tile_bytes = tile_bytes(shape);
  return shape;
}

}  // namespace

CpuOps::CpuOps(Activations activations, Isa isa, ThreadPool* pool, mx::Stream stream)
    : Ops(activations), loops_(loops_of(isa)), pool_(pool), stream_(stream) {}

bool CpuOps::keeps_kv(DType type) const {
  return type == DType::kF32 || type == DType::kBF16 || type == DType::kI8;
}

std::optional<std::uint64_t> CpuOps::steps() const {
  if (pool_ == nullptr) return std::nullopt;
  return pool_->steps();
}

void CpuOps::settle() const { kernels::settle(stream_); }

Result<Matrix> CpuOps::run_prepare(MatrixData data) const {
  auto made = std::make_shared<CpuMatrix>();
  made->tiles = tile_shape(data);
  const int tiles = tile_count(data.rows);
  made->matrix_bytes = static_cast<std::size_t>(tiles) * made->tiles.tile_bytes;
  made->count = data.count;
  made->rows = data.rows;
  made->cols = data.cols;
  made->bytes = static_cast<std::size_t>(data.count) * made->matrix_bytes;
  Result<Pages> pages = Pages::allocate(made->bytes);
  if (!pages) return pages.error();
  made->storage = std::move(*pages);
  made->tiles.tiles = made->storage.data();
  constexpr std::int64_t kGrain = 4;
  in_parallel(pool_, std::int64_t{tiles} * data.count, kGrain,
              [&](std::int64_t begin, std::int64_t end, int) {
                for (std::int64_t i = begin; i < end; ++i) {
                  std::byte* to =
                      made->storage.data() + static_cast<std::size_t>(i) * made->tiles.tile_bytes;
                  pack_tile(made->tiles, data.matrix(static_cast<int>(i / tiles)),
                            static_cast<int>(i % tiles), to);
                }
              });
  return Matrix(std::move(made));
}

}  // namespace tandem::kernels
