#pragma once
// Attention of a block of query rows of one KV head: page by page, softmax online.

#include <cmath>

#include "kernels/cpu/activation_loops.h"
#include "kernels/cpu/attention_score_loops.h"
#include "kernels/cpu/attention_table.h"
#include "kernels/cpu/simd.h"

namespace tandem::kernels::HWY_NAMESPACE {

template <class Q, class K>
class BlockAttention {
 public:
  BlockAttention(const AttentionShape& shape, const AttentionBlock& block, float* scratch)
      : shape_(shape),
        block_(block),
        rows_(static_cast<std::size_t>(block.end - block.begin)),
        q_stride_(shape.kv.key_stride),
        out_stride_(shape.kv.value_stride) {
    q_ = scratch;
    out_ = q_ + rows_ * q_stride_;
    scores_ = out_ + rows_ * out_stride_;
    sums_ = scores_ + rows_ * kPage;
    max_ = sums_ + rows_ * kLanes;
    query_ = reinterpret_cast<std::int32_t*>(max_ + rows_);
  }

  void run() {
    start();
    std::size_t first = 0;  // rows [first, last) see something of the page
    std::size_t last = 0;
    const std::int64_t pages = position(rows_ - 1) / kPageTokens + 1;
    for (std::int64_t page = first_seen(0) / kPageTokens; page < pages; ++page) {
      while (position(first) / kPageTokens < page) ++first;
      while (last < rows_ && first_seen(last) / kPageTokens <= page) ++last;
      attend_page(page, first, last);
    }
    finish();
  }

 private:
  std::size_t query(std::size_t row) const { return static_cast<std::size_t>(query_[row]); }
  std::size_t head(std::size_t row) const {
    return static_cast<std::size_t>(block_.begin) + row - query(row) * shape_.group;
  }
  std::int64_t position(std::size_t row) const { return block_.position + query_[row]; }
  std::int64_t first_seen(std::size_t row) const {
    const std::int64_t first = position(row) - shape_.window + 1;
    return shape_.window == 0 || first < 0 ? 0 : first;
  }

  /// Tokens of a page that a row sees.
  struct Seen {
    std::size_t first;
    std::size_t last;
  };
  Seen seen(std::size_t row, std::int64_t page) const {
    const std::int64_t base = page * kPageTokens;
    const std::int64_t first = first_seen(row) - base;
    const std::int64_t last = position(row) + 1 - base;
    return {static_cast<std::size_t>(first < 0 ? 0 : first),
            static_cast<std::size_t>(last > kPageTokens ? kPageTokens : last)};
  }

  void start() {
    const std::size_t dim = shape_.kv.key_dim;
    const Vec scale = set(shape_.scale);
    for (std::size_t r = 0; r < rows_; ++r) {
      const std::size_t whole = static_cast<std::size_t>(block_.begin) + r;
      query_[r] = static_cast<std::int32_t>(whole / shape_.group);
      const auto* from =
          reinterpret_cast<const Q*>(block_.q) + (query(r) * shape_.heads + head(r)) * dim;
      float* q = q_ + r * q_stride_;
      for_vectors(dim, [&](std::size_t i, auto part) {
        store(hn::Mul(load(from + i, part), scale), q + i, part);
      });
      std::memset(q + dim, 0, (q_stride_ - dim) * sizeof(float));
      std::memset(out_ + r * out_stride_, 0, out_stride_ * sizeof(float));
      std::memset(sums_ + r * kLanes, 0, kLanes * sizeof(float));
      max_[r] = block_.sinks != nullptr ? block_.sinks[head(r)] : -3.0e38f;
    }
  }

  /// One page of the head, and the page that comes next (null: none, or asked for already).
  struct Page {
    std::int64_t index = 0;
    const K* keys = nullptr;
    const K* values = nullptr;
    const float* key_scales = nullptr;  // with integers
    const float* value_scales = nullptr;
    const K* next_keys = nullptr;
    const K* next_values = nullptr;
    std::size_t tokens = 0;  // that any row sees, from the start of the page
  };
  /// What lies `offset` bytes into the head.
  template <class T>
  const T* part_of(std::int64_t page, std::size_t offset) const {
    return reinterpret_cast<const T*>(block_.pages[page] + block_.head_offset + offset);
  }

  void attend_page(std::int64_t index, std::size_t first, std::size_t last) {
    const KvLayout& kv = shape_.kv;
    Page page{.index = index,
              .keys = part_of<K>(index, 0),
              .values = part_of<K>(index, kv.value_offset),
              .key_scales = part_of<float>(index, kv.key_scales),
              .value_scales = part_of<float>(index, kv.value_scales),
              .tokens = seen(last - 1, index).last};
    if (position(rows_ - 1) / kPageTokens > index) {
      page.next_keys = part_of<K>(index + 1, 0);
      page.next_values = part_of<K>(index + 1, kv.value_offset);
      if (kScaled<K>) {
        prefetch(part_of<std::byte>(index + 1, kv.key_scales), kv.head_bytes - kv.key_scales);
      }
    }
    for (std::size_t row = first; row < last;) {
      const std::size_t left = last - row;
      if (left >= kTileRows) {
        attend_rows<kTileRows>(page, row);
      } else if (left >= 2) {
        attend_rows<2>(page, row);
      } else {
        attend_rows<1>(page, row);
      }
      row += left >= kTileRows ? kTileRows : left >= 2 ? 2 : 1;
      page.next_keys = nullptr;
      page.next_values = nullptr;
    }
  }

  template <std::size_t kRows>
  void attend_rows(const Page& page, std::size_t row) {
    score<kRows>(page, row);
    if (shape_.softcap != 0) {
      // Only what was scored; mask() fills the rest.
      for (std::size_t r = row; r < row + kRows; ++r) cap(scores_ + r * kPage, page.tokens);
    }
    Seen all{0, kPage};
    for (std::size_t r = row; r < row + kRows; ++r) {
      const Seen some = seen(r, page.index);
      mask(r, some);
      all.first = some.first > all.first ? some.first : all.first;
      all.last = some.last < all.last ? some.last : all.last;
    }
    soften<kRows>(row);
    // What all of the rows see is added for them together, the rest before and after it.
    if (all.first > all.last) all.first = all.last;
    if (all.first > 0) add_edges<kRows>(page, row, {0, all.first});
    add_values<kRows>(scores_ + row * kPage, page.values, out_stride_, shape_.kv.value_dim,
                      page.value_scales, all.first, all.last, out_ + row * out_stride_, out_stride_,
                      page.next_values);
    if (all.last < kPage) add_edges<kRows>(page, row, {all.last, kPage});
  }

  template <std::size_t kRows>
  void add_edges(const Page& page, std::size_t row, Seen within) {
    for (std::size_t r = row; r < row + kRows; ++r) {
      const Seen some = seen(r, page.index);
      const std::size_t from = some.first > within.first ? some.first : within.first;
      const std::size_t to = some.last < within.last ? some.last : within.last;
      add_values<1>(scores_ + r * kPage, page.values, out_stride_, shape_.kv.value_dim,
                    page.value_scales, from, to, out_ + r * out_stride_, out_stride_);
    }
  }

  template <std::size_t kRows>
  void score(const Page& page, std::size_t row) {
    if (!shape_.kv.value_in_key) {
      return score_transposed<kRows>(q_ + row * q_stride_, q_stride_, page.keys, shape_.kv.key_dim,
                                     page.key_scales, page.tokens, scores_ + row * kPage,
                                     page.next_keys);
    }
    constexpr std::size_t kTogether = kRows < kDotRows ? kRows : kDotRows;
    for (std::size_t r = row; r < row + kRows; r += kTogether) {
      score_rows<kTogether>(q_ + r * q_stride_, page.keys, q_stride_, page.key_scales, page.tokens,
                            scores_ + r * kPage);
    }
  }

  void cap(float* s, std::size_t n) const {
    const Vec top = set(shape_.softcap);
    const Vec inverse = set(1.0f / shape_.softcap);
    for (std::size_t t = 0; t < n; t += kLanes) store(softcap(load(s + t), top, inverse), s + t);
  }

  /// Hides from a row what it does not see.
  void mask(std::size_t row, Seen some) {
    float* s = scores_ + row * kPage;
    for (std::size_t t = 0; t < some.first; ++t) s[t] = -HUGE_VALF;
    for (std::size_t t = some.last; t < kPage; ++t) s[t] = -HUGE_VALF;
  }

  /// Turns rows' scores into weights relative to their new maxima; scales what came before.
  template <std::size_t kRows>
  void soften(std::size_t row) {
    const float* s = scores_ + row * kPage;
    Vec top[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      top[r] = load(s + r * kPage);
      for (std::size_t t = kLanes; t < kPage; t += kLanes) {
        top[r] = hn::Max(top[r], load(s + r * kPage + t));
      }
    }
    float highest[kRows];
    fold_lanes<Maximum>(top, highest);
    for (std::size_t r = 0; r < kRows; ++r) {
      const float before = max_[row + r];
      weigh(row + r, before, highest[r] > before ? highest[r] : before);
    }
  }

  HWY_INLINE void weigh(std::size_t row, float before, float now) {
    float* s = scores_ + row * kPage;
    const Vec most = set(now);
    Vec sum = set(0);
    for (std::size_t t = 0; t < kPage; t += kLanes) {
      const Vec weight = exp_nonpositive(hn::Sub(load(s + t), most));
      store(weight, s + t);
      sum = hn::Add(sum, weight);
    }
    float* total = sums_ + row * kLanes;
    if (now == before) return store(hn::Add(load(total), sum), total);
    max_[row] = now;
    const Vec shrink = exp_nonpositive(set(before - now));
    store(hn::MulAdd(load(total), shrink, sum), total);
    float* out = out_ + row * out_stride_;
    for (std::size_t d = 0; d < out_stride_; d += kLanes) {
      store(hn::Mul(load(out + d), shrink), out + d);
    }
  }

  void finish() {
    const std::size_t dim = shape_.kv.value_dim;
    for (std::size_t r = 0; r < rows_; ++r) {
      float total = sum_lanes(load(sums_ + r * kLanes));
      if (block_.sinks != nullptr) {
        const float sink = block_.sinks[head(r)] - max_[r];
        total += hn::GetLane(exp_nonpositive(set(sink)));
      }
      const Vec inverse = hn::Div(set(1.0f), set(total));
      auto* to = reinterpret_cast<Q*>(block_.out) + (query(r) * shape_.heads + head(r)) * dim;
      for_vectors(dim, [&](std::size_t i, auto part) {
        store(hn::Mul(load(out_ + r * out_stride_ + i, part), inverse), to + i, part);
      });
    }
  }

  const AttentionShape& shape_;
  const AttentionBlock& block_;
  std::size_t rows_;
  std::size_t q_stride_;
  std::size_t out_stride_;
  float* q_;             // [rows][q_stride], scaled
  float* out_;           // [rows][out_stride], not yet divided by the sum
  float* scores_;        // [rows][kPage], then weights
  float* sums_;          // [rows][kLanes] of weights
  float* max_;           // [rows]
  std::int32_t* query_;  // [rows], counted from the block's position
};

template <class Q>
void attend_as(const AttentionShape& shape, const AttentionBlock& block, float* scratch) {
  switch (shape.kv.type) {
    case DType::kF32:
      return BlockAttention<Q, float>(shape, block, scratch).run();
    case DType::kBF16:
      return BlockAttention<Q, Bf16>(shape, block, scratch).run();
    case DType::kI8:
      return BlockAttention<Q, std::int8_t>(shape, block, scratch).run();
    default:  // no other is made
      return;
  }
}

inline void attend(const AttentionShape& shape, const AttentionBlock& block, float* scratch) {
  if (block.begin >= block.end) return;
  if (shape.type == DType::kBF16) return attend_as<Bf16>(shape, block, scratch);
  return attend_as<float>(shape, block, scratch);
}

}  // namespace tandem::kernels::HWY_NAMESPACE
