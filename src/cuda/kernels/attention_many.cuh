#pragma once
// Attention of many rows of few sequences: prompts. It gives each row the bits of attention.cuh.
//
// Where that has the query heads of one row as 8 of an MMA's 16 rows and a warp for 32 positions,
// here a warp has up to 16 query heads of rows that follow each other and a whole split of 256
// positions, and the 8 warps of a block share its K and V. A warp keeps the probabilities of the
// split, as the maximum of all its parts of 32 positions must be known before their values are
// added up in order.

#include "attention.cuh"

namespace tandem::cuda {

constexpr int kSplitParts = kSplit / kWarpPositions;
constexpr int kSplitPages = kSplit / kPagePositions;
constexpr int kHeadChunks = kHeadDim / 8;  // of 16 bytes

/// Where a chunk of a position's K and V lies in shared memory, in bytes: exchanged so that lanes
/// meet no bank conflict.
__device__ __forceinline__ int key_at(int position, int chunk) {
  return (position * kHeadChunks + (chunk ^ (position & 1) * 4)) * 16;
}
__device__ __forceinline__ int value_at(int position, int chunk) {
  return (position * kHeadChunks + (chunk ^ (position & 6))) * 16;
}

/// K and V of one split, which come a page at a time, all K before all V.
struct SplitPages {
  const unsigned char* k;  // in shared memory, [256] positions; V follows
  /// By all threads. `table`: the page numbers of the split; pages after position `last` are left.
  __device__ void request(const AttentionArgs& a, const int* table, int kv_head, int start,
                          int last) const {
    constexpr int kSide = kSplit * kHeadChunks * 16;  // of K, or V
#pragma unroll 1
    for (int side = 0; side < 2; ++side) {
      for (int page = 0; page < kSplitPages; ++page) {
        if (start + page * kPagePositions <= last) {
          const u64 plane = static_cast<u64>(table[page]) * 2 * a.kv_heads + side * a.kv_heads;
          const u16* from = a.pages + (plane + kv_head) * kPagePositions * kHeadDim;
          for (int i = threadIdx.x; i < kPagePositions * kHeadChunks; i += kManyAttentionThreads) {
            const int position = page * kPagePositions + i / kHeadChunks, chunk = i % kHeadChunks;
            const int at = side == 0 ? key_at(position, chunk) : value_at(position, chunk);
            copy_async(shared_address(k) + side * kSide + at, from + i * 8);
          }
        }
        commit_copies();
      }
    }
  }
  /// Until the first `pages` of the 2 * kSplitPages are there.
  template <int kPages>
  __device__ static void wait_for() {
    wait_for_copies<2 * kSplitPages - kPages>();
    __syncthreads();
  }
  __device__ __forceinline__ uint4 key(int position, int chunk) const {
    return *reinterpret_cast<const uint4*>(k + key_at(position, chunk));
  }
  __device__ __forceinline__ uint4 value(int position, int chunk) const {
    return *reinterpret_cast<const uint4*>(k + kSplit * kHeadChunks * 16 +
                                           value_at(position, chunk));
  }
};

/// A warp's rows, of one sequence and following each other, with one KV head and one split. A warp
/// without rows keeps the others company at their barriers.
class ManyRows {
 public:
  __device__ ManyRows(const AttentionArgs& a, const SplitPages& pages, int row, int count,
                      int kv_head, int split)
      : a_(a),
        pages_(pages),
        row_(row),
        count_(count),
        kv_head_(kv_head),
        split_(split),
        start_(split * kSplit) {
    const int g = (threadIdx.x & 31) >> 2;
    most_last_ = count > 0 ? a.positions[row + count - 1] : -1;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      token_[i] = (g + 8 * i) / a.group;
      head_[i] = (g + 8 * i) % a.group;
      last_[i] = token_[i] < count ? a.positions[row + token_[i]] : -1;
    }
  }

  __device__ void run() {
    load_queries();
    find_most();
    SplitPages::wait_for<2 * kSplitPages>();
    float all[2][8][4] = {};  // halves of the dims
#pragma unroll 1
    for (int part = 0; part < kSplitParts && first_of(part) <= most_last_; ++part) {
      add_part(part, all);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (last_[i] >= start_) store(i, all);
    }
  }

 private:
  __device__ __forceinline__ int first_of(int part) const { return start_ + part * kWarpPositions; }
  __device__ __forceinline__ u64 cell(int i) const {
    return static_cast<u64>(row_ + token_[i]) * a_.kv_heads + kv_head_;
  }
  __device__ __forceinline__ void load_queries() {
    const int t = threadIdx.x & 3;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const u64 row = row_ + max(min(token_[i], count_ - 1), 0);
      const u16* q = a_.q + ((row * a_.kv_heads + kv_head_) * a_.group + head_[i]) * kHeadDim;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        query_[i][j] = __ldcg(reinterpret_cast<const uint4*>(q) + j * 4 + t);
      }
    }
  }

  /// Scores of a part as attend() has them, and of each of this lane's rows their maximum.
  __device__ __forceinline__ void score(int part, float (&score)[4][4], float (&most)[2]) const {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, first = first_of(part);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int position = min(first + n * 8 + g, most_last_) - start_;
      uint4 k[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) k[j] = pages_.key(position, j * 4 + t);
      const auto add = [&](int j, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
        if (j == 0) {
          multiply_first(score[n], a0, a1, a2, a3, b0, b1);
        } else {
          multiply(score[n], a0, a1, a2, a3, b0, b1);
        }
      };
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint4 q0 = query_[0][j], q1 = query_[1][j];
        add(j, q0.x, q1.x, q0.y, q1.y, k[j].x, k[j].y);
        add(1, q0.z, q1.z, q0.w, q1.w, k[j].z, k[j].w);
      }
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      most[i] = -infinity();
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const bool seen = first + n * 8 + 2 * t + c <= last_[i];
          float& s = score[n][2 * i + c];
          s = seen ? __fmul_rn(s, a_.scale) : -infinity();
          most[i] = fmaxf(most[i], s);
        }
      }
    }
  }

  /// The maximum of all parts: see join().
  __device__ __forceinline__ void find_most() {
    weight_[0] = weight_[1] = {-infinity(), 0};
#pragma unroll 1
    for (int part = 0; part < kSplitParts; ++part) {
      if (part == 0) SplitPages::wait_for<1>();
      if (part == 2) SplitPages::wait_for<2>();
      if (part == 4) SplitPages::wait_for<3>();
      if (part == 6) SplitPages::wait_for<4>();
      if (first_of(part) > most_last_) continue;
      float scores[4][4], most[2];
      score(part, scores, most);
      for (int i = 0; i < 2; ++i) weight_[i].x = fmaxf(weight_[i].x, most[i]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      for (int d = 1; d < 4; d *= 2) {
        weight_[i].x = fmaxf(weight_[i].x, __shfl_xor_sync(~0u, weight_[i].x, d));
      }
    }
  }

  __device__ __forceinline__ void add_part(int part, float (&all)[2][8][4]) {
    float scores[4][4], most[2], factor[2];
    score(part, scores, most);
    u32 p[2][4];  // probabilities, as the MMA wants them
    bool seen[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      for (int d = 1; d < 4; d *= 2) most[i] = fmaxf(most[i], __shfl_xor_sync(~0u, most[i], d));
      seen[i] = first_of(part) <= last_[i];
      const float base = seen[i] ? most[i] : 0.0f;  // a row that sees nothing has zeros
      float sum = 0;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& s = scores[n][2 * i + c];
          s = exp2_fast(s - base);
          sum += s;
        }
      }
      for (int d = 1; d < 4; d *= 2) sum += __shfl_xor_sync(~0u, sum, d);
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        p[step][i] = narrow(scores[2 * step][2 * i], scores[2 * step][2 * i + 1]);
        p[step][2 + i] = narrow(scores[2 * step + 1][2 * i], scores[2 * step + 1][2 * i + 1]);
      }
      factor[i] = exp2_fast(most[i] - weight_[i].x);
      if (seen[i]) weight_[i].y = fmaf(factor[i], sum, weight_[i].y);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float out[8][4] = {};
      add_values(part, half, p, out);
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          float& sum = all[half][n][c];
          sum = seen[c / 2] ? fmaf(factor[c / 2], out[n][c], sum) : sum;
        }
      }
    }
  }

  /// out += the weighted values of a part, for half of the dims.
  __device__ __forceinline__ void add_values(int part, int half, const u32 (&p)[2][4],
                                             float (&out)[8][4]) const {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, first = first_of(part);
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      uint4 v[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int position = first + step * 16 + i / 2 * 8 + 2 * t + i % 2;
        v[i] = pages_.value(min(position, most_last_) - start_, half * 8 + g);
      }
      const u32(&w)[4] = p[step];
      const auto pair = [&](int n, u32 x0, u32 x1, u32 x2, u32 x3) {
        multiply(out[n], w[0], w[1], w[2], w[3], __byte_perm(x0, x1, 0x5410),
                 __byte_perm(x2, x3, 0x5410));
        multiply(out[n + 1], w[0], w[1], w[2], w[3], __byte_perm(x0, x1, 0x7632),
                 __byte_perm(x2, x3, 0x7632));
      };
      pair(0, v[0].x, v[1].x, v[2].x, v[3].x);
      pair(2, v[0].y, v[1].y, v[2].y, v[3].y);
      pair(4, v[0].z, v[1].z, v[2].z, v[3].z);
      pair(6, v[0].w, v[1].w, v[2].w, v[3].w);
    }
  }

  __device__ __forceinline__ void store(int i, const float (&all)[2][8][4]) const {
    const int t = threadIdx.x & 3;
    const bool whole = last_[i] < kSplit;
    const u64 head = cell(i) * a_.group + head_[i];
    const u64 part = (cell(i) * gridDim.x + split_) * a_.group + head_[i];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
#pragma unroll
        for (int n = 0; n < 8; n += 4) {
          const int quad = half * 16 + t * 4 + c * 2 + n / 4, at = 2 * i + c;
          const float4 sum = {all[half][n][at], all[half][n + 1][at], all[half][n + 2][at],
                              all[half][n + 3][at]};
          if (whole) {
            finish(a_, head, quad, {sum, weight_[i]});
          } else {
            __stcg(reinterpret_cast<float4*>(a_.partial) + part * (kHeadDim / 4) + quad, sum);
          }
        }
      }
    }
    if (t == 0 && !whole) __stcg(a_.weights + part, weight_[i]);
  }

  const AttentionArgs& a_;
  const SplitPages& pages_;
  int row_, count_, kv_head_, split_, start_, most_last_;
  int token_[2], head_[2], last_[2];  // of the MMA's rows g and g + 8
  uint4 query_[2][4];
  float2 weight_[2];  // maximum of the scores (base 2), sum
};

/// Where the rows of `row`'s sequence that follow it end, at most `end`; by a warp. A page that is
/// written to belongs to one sequence.
__device__ __forceinline__ int end_of_run(const AttentionArgs& a, int row, int end) {
  const int position = a.positions[row], page = position / kPagePositions;
  const int number = a.table[row * a.table_stride + page];
  for (int next = row + 1; next < end; next += 32) {
    const int mine = min(next + static_cast<int>(threadIdx.x & 31), end - 1);
    const bool follows = a.positions[mine] == position + mine - row &&
                         a.table[mine * a.table_stride + page] == number;
    const u32 others = __ballot_sync(~0u, !follows);
    if (others != 0) return next + __ffs(others) - 1;
  }
  return end;
}

/// Grid: [splits, kv_heads, rows / (8 warps of 16 / group rows)].
__global__ void __launch_bounds__(kManyAttentionThreads, 1)
    attention_many(const __grid_constant__ AttentionArgs a, int rows) {
  extern __shared__ __align__(128) unsigned char split_pages[];
  let_successor_start();
  wait_for_predecessor();
  const int each = 16 / a.group, split = blockIdx.x, warp = threadIdx.x / 32;
  const int begin = blockIdx.z * (kManyAttentionThreads / 32) * each;
  const int end = min(begin + kManyAttentionThreads / 32 * each, rows);
  const SplitPages pages{split_pages};
  for (int row = begin, next = 0; row < end; row = next) {
    next = end_of_run(a, row, end);
    const int last = a.positions[next - 1];
    if (last < split * kSplit) continue;
    __syncthreads();  // all have read the run before this one
    pages.request(a, a.table + (next - 1) * a.table_stride + split * kSplitPages, blockIdx.y,
                  split * kSplit, last);
    const int mine = max(row, begin + warp * each), stop = min(next, begin + (warp + 1) * each);
    ManyRows(a, pages, mine, max(stop - mine, 0), blockIdx.y, split).run();
  }
}

/// Of rows that have several of the `splits` that there is room for, their sum. Grid: [rows,
/// kv_heads].
__global__ void __launch_bounds__(kJoinThreads)
    join_many(const __grid_constant__ AttentionArgs a, int room) {
  let_successor_start();
  wait_for_predecessor();
  const int splits = a.positions[blockIdx.x] / kSplit + 1;
  if (splits == 1) return;
  const u64 cell = static_cast<u64>(blockIdx.x) * a.kv_heads + blockIdx.y;
  const int quads = a.group * (kHeadDim / 4);
  const float4* partial = reinterpret_cast<const float4*>(a.partial) + cell * room * quads;
  const float2* weights = a.weights + cell * room * a.group;
  for (int i = threadIdx.x; i < quads; i += kJoinThreads) {
    const int h = i / (kHeadDim / 4);
    finish(a, cell * a.group + h, i % (kHeadDim / 4),
           join<8>(
               splits, [&](int s) { return __ldcg(partial + s * quads + i); },
               [&](int s) { return __ldcg(weights + s * a.group + h); }));
  }
}

}  // namespace tandem::cuda
