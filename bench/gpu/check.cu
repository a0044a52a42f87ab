// Kernels against float64 on the host, and the bits of a row beside 0 to 63 others.

#include <cmath>

#include "harness.cuh"

namespace bench {
namespace {

int failures = 0;
void expect(bool right, const char* what) {
  if (!right) ++failures;
  std::printf("%s %s\n", right ? "ok    " : "FAILED", what);
}
/// |got - want| / |want|; more than 1 if anything is NaN.
struct Error {
  double difference = 0, size = 0;
  void add(double got, double want) {
    difference += (got - want) * (got - want);
    size += want * want;
  }
  double value() const {
    const double e = std::sqrt(difference / size);
    return e == e ? e : 2;
  }
};

std::vector<u16> random_rows(int rows, int k, u32 seed) {
  std::vector<u16> x(static_cast<size_t>(rows) * k);
  for (size_t i = 0; i < x.size(); ++i) {
    // A few elements far from the rest, as real activations have.
    x[i] = to_bf16(uniform(seed, i) * (hash(seed + 9, i) % 512 == 0 ? 30.0f : 1.0f));
  }
  return x;
}

double weight_at(const Weights& w, u32 seed, int row, int column) {
  const u64 word = static_cast<u64>(row) * w.groups * 8 + column / 8;
  const u32 scale = scale_of(seed, row, column / 64, w.groups);
  return from_bf16(static_cast<u16>(scale)) *
             static_cast<double>(hash(seed, word) >> column % 8 * 4 & 15) +
         from_bf16(static_cast<u16>(scale >> 16));
}

/// Products of 1 to 64 rows: error of a sample, and each row's bits as alone.
template <bool kNorm>
void check_product(int n, int k, u32 seed) {
  constexpr int kRows = 64;
  Stream s;
  s.dependent = true;
  const Weights w = random_weights(n, k, 1, seed);
  const std::vector<u16> x = random_rows(kRows, k, seed + 3), norm = random_rows(1, k, seed + 4);
  Rows rows{device(x), device(norm), 1e-5f, k / 64};
  const Prepared room(kRows, k);
  float* y = device<float>(static_cast<size_t>(kRows) * n);
  float* alone = device<float>(static_cast<size_t>(kRows) * n);
  for (int r = 0; r < kRows; ++r) {
    Rows one = rows;
    one.x += static_cast<size_t>(r) * k;
    multiply_rows<kNorm>(s, w, one, 1, room, StoreFloat{alone + static_cast<size_t>(r) * n, n});
  }
  const auto expected = host(alone, static_cast<size_t>(kRows) * n);
  Error error;
  for (int r = 0; r < kRows; r += 7) {
    double inverse = 1;
    for (int i = 0; kNorm && i < k; ++i) {
      const double v = from_bf16(x[static_cast<size_t>(r) * k + i]);
      inverse = (i == 0 ? 0 : inverse) + v * v;
    }
    if (kNorm) inverse = 1 / std::sqrt(inverse / k + 1e-5);
    for (int row = r; row < n; row += n / 61 + 1) {
      double sum = 0;
      for (int i = 0; i < k; ++i) {
        double v = from_bf16(x[static_cast<size_t>(r) * k + i]);
        if (kNorm) v = from_bf16(to_bf16(static_cast<float>(v * inverse * from_bf16(norm[i]))));
        sum += v * weight_at(w, seed, row, i);
      }
      error.add(expected[static_cast<size_t>(r) * n + row], sum);
    }
  }
  int different = 0;
  for (int count : {2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64}) {
    check(cudaMemset(y, 0xff, static_cast<size_t>(kRows) * n * 4), "memset");
    multiply_rows<kNorm>(s, w, rows, count, room, StoreFloat{y, n});
    const auto got = host(y, static_cast<size_t>(count) * n);
    if (std::memcmp(got.data(), expected.data(), got.size() * 4) != 0) {
      ++different;
      std::printf("  %d rows differ from rows alone\n", count);
    }
  }
  char line[160];
  std::snprintf(line, sizeof line, "product %d x %d%s: error %.1e, row counts with other bits: %d",
                n, k, kNorm ? " after rms_norm" : "", error.value(), different);
  expect(error.value() < (kNorm ? 1e-3 : 1e-5) && different == 0, line);
}

/// Each epilogue against the host's over the sums that StoreFloat gives.
void check_epilogues(int count) {
  constexpr int kHidden = 1024, kHeads = 8, kKvHeads = 2, kPages = 5;
  Stream s;
  const std::vector<u16> x = random_rows(count, kHidden, 50);
  Rows rows{device(x), device(x), 1e-5f, kHidden / 64};
  const Prepared room(count, kHidden);
  const auto sums = [&](const Weights& w) {
    float* y = device<float>(static_cast<size_t>(count) * w.tiles * 16);
    multiply_rows<false>(s, w, rows, count, room, StoreFloat{y, w.tiles * 16});
    return host(y, static_cast<size_t>(count) * w.tiles * 16);
  };
  char line[160];
  Error residual, gated, turned;
  {
    const Weights w = random_weights(kHidden, kHidden, 1, 60);
    const auto want = sums(w);
    u16* y = device(x);
    multiply_rows<false>(s, w, rows, count, room, AddResidual{y, kHidden});
    const auto got = host(y, x.size());
    for (size_t i = 0; i < got.size(); ++i)
      residual.add(from_bf16(got[i]), from_bf16(x[i]) + want[i]);
  }
  {
    const Weights w = random_weights(2048, kHidden, 128, 61);
    const auto want = sums(w);
    u16* y = device<u16>(static_cast<size_t>(count) * 1024);
    multiply_rows<false>(s, w, rows, count, room, SwiGlu{y});
    const auto got = host(y, static_cast<size_t>(count) * 1024);
    for (size_t i = 0; i < got.size(); ++i) {
      const double gate = want[i / 1024 * 2048 + i % 1024],
                   up = want[i / 1024 * 2048 + 1024 + i % 1024];
      gated.add(from_bf16(got[i]), gate / (1 + std::exp(-gate)) * up);
    }
  }
  {
    constexpr int kRows = (kHeads + 2 * kKvHeads) * 128;
    const Weights w = random_weights(kRows, kHidden, 8, 62);
    const auto want = sums(w);
    std::vector<int> slots(count);
    std::vector<float2> turns(count * 64);
    for (int r = 0; r < count; ++r) slots[r] = r == 1 ? -1 : r * 37 % (kPages * 64);
    for (size_t i = 0; i < turns.size(); ++i) {
      turns[i] = {uniform(70, i), uniform(71, i)};
    }
    const size_t page_elements = 2 * kKvHeads * 64 * 128;
    u16* q = device<u16>(static_cast<size_t>(count) * kHeads * 128);
    u16* pages = device<u16>(kPages * page_elements);
    multiply_rows<false>(s, w, rows, count, room,
                         RopeToPages{q, {pages, device(slots), device(turns)}, kHeads, kKvHeads});
    const auto got_q = host(q, static_cast<size_t>(count) * kHeads * 128);
    const auto got = host(pages, kPages * page_elements);
    for (int r = 0; r < count; ++r) {
      for (int i = 0; i < kRows; ++i) {
        const int head = i / 128, d = i % 128;
        const double a = want[r * kRows + head * 128 + d % 64],
                     b = want[r * kRows + head * 128 + 64 + d % 64];
        const float2 turn = turns[r * 64 + d % 64];
        const double value = head >= kHeads + kKvHeads ? want[r * kRows + i]
                             : d < 64                  ? a * turn.x - b * turn.y
                                                       : b * turn.x + a * turn.y;
        if (head < kHeads) {
          turned.add(from_bf16(got_q[(r * kHeads + head) * 128 + d]), value);
        } else if (slots[r] >= 0) {
          const size_t at =
              ((slots[r] / 64 * 2 * kKvHeads + head - kHeads) * 64 + slots[r] % 64) * 128 + d;
          turned.add(from_bf16(got[at]), value);
        }
      }
    }
  }
  std::snprintf(line, sizeof line,
                "epilogues of %d rows: residual %.1e, gated %.1e, rope to pages %.1e", count,
                residual.value(), gated.value(), turned.value());
  expect(residual.value() < 3e-3 && gated.value() < 3e-3 && turned.value() < 3e-3, line);
}

struct AttentionCase {
  int kv_heads, group, stride;
  std::vector<int> positions;
};

void check_attention(const AttentionCase& c) {
  const int rows = static_cast<int>(c.positions.size()), heads = c.kv_heads * c.group;
  Stream s;
  s.dependent = true;
  std::vector<int> table(rows * c.stride);
  const int pages = rows * c.stride;
  for (int i = 0; i < pages; ++i) table[i] = (i * 7 + 3) % pages;  // 7 and pages share no factor
  const size_t page_elements = static_cast<size_t>(2) * c.kv_heads * 64 * 128;
  std::vector<u16> kv(pages * page_elements), q(static_cast<size_t>(rows) * heads * 128);
  for (size_t i = 0; i < kv.size(); ++i) kv[i] = to_bf16(uniform(80, i));
  for (size_t i = 0; i < q.size(); ++i) q[i] = to_bf16(4 * uniform(81, i));
  const int last = *std::max_element(c.positions.begin(), c.positions.end());
  const int splits = last / kSplit + 1;
  const size_t cells = static_cast<size_t>(rows) * heads * splits;
  const double scale = 1 / std::sqrt(128.0);
  std::vector<int> zeros(rows * c.kv_heads);
  u16* out = device<u16>(q.size());
  AttentionArgs a{device(q),
                  device(kv),
                  device(table),
                  device(c.positions),
                  out,
                  device<float>(cells * 128),
                  device<float2>(cells),
                  device(zeros),
                  c.stride,
                  c.kv_heads,
                  c.group,
                  static_cast<float>(scale * 1.4426950408889634)};
  const int shared = 8 * c.group * 128 * 4;
  const auto run = [&](const AttentionArgs& args, int count) {
    launch(s, attention, dim3(splits, c.kv_heads, count), kAttentionThreads, shared, args);
  };
  run(a, rows);
  const auto got = host(out, q.size());
  Error error;
  for (int r = 0; r < rows; ++r) {
    for (int h = 0; h < heads && c.positions[r] >= 0; ++h) {
      const auto at = [&](int position, int plane, int d) {
        const int page = table[r * c.stride + position / 64];
        return static_cast<double>(
            from_bf16(kv[((static_cast<size_t>(page) * 2 * c.kv_heads + plane + h / c.group) * 64 +
                          position % 64) *
                             128 +
                         d]));
      };
      std::vector<double> sums(128);
      double total = 0;
      for (int p = 0; p <= c.positions[r]; ++p) {
        double dot = 0;
        for (int d = 0; d < 128; ++d) dot += at(p, 0, d) * from_bf16(q[(r * heads + h) * 128 + d]);
        const double weight = std::exp(dot * scale);
        total += weight;
        for (int d = 0; d < 128; ++d) sums[d] += weight * at(p, c.kv_heads, d);
      }
      for (int d = 0; d < 128; ++d)
        error.add(from_bf16(got[(r * heads + h) * 128 + d]), sums[d] / total);
    }
  }
  int different = 0;
  for (int again = 0; again < 3; ++again) {
    for (int r = 0; r < rows; ++r) {
      AttentionArgs one = a;
      one.q += static_cast<size_t>(r) * heads * 128;
      one.out += static_cast<size_t>(r) * heads * 128;
      one.table += r * c.stride;
      one.positions += r;
      run(one, 1);
    }
    const auto alone = host(out, q.size());
    different += std::memcmp(alone.data(), got.data(), got.size() * 2) != 0;
  }
  char line[160];
  std::snprintf(
      line, sizeof line,
      "attention, %d x %d heads, %d rows to position %d: error %.1e, other bits alone: %d",
      c.kv_heads, c.group, rows, last, error.value(), different);
  expect(error.value() < 5e-3 && different == 0, line);
}

void check_ends() {
  constexpr int kRows = 3, kVocab = 4096, kHidden = 512;
  Stream s;
  const Weights w = random_weights(kVocab, kHidden, 1, 90);
  std::vector<float> logits(kRows * kVocab);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = uniform(91, i);
  logits[17] = logits[2000] = logits[3000] = 2;  // the lowest id wins
  logits[kVocab + 4095] = 2;
  std::vector<int> ids = {5, 4000, 77}, positions = {0, 70, -1}, table = {3, 4, 5, 6, 7, 8};
  std::vector<float> frequency(64);
  for (int i = 0; i < 64; ++i) frequency[i] = std::pow(500000.0f, -i / 64.0f);
  StepArgs a{device(ids),
             device(positions),
             device(table),
             device(frequency),
             device<u16>(kRows * kHidden),
             device<float2>(kRows * 64),
             device<int>(kRows),
             2,
             64};
  launch(s, embed, kRows, kThreads, 0, a, w);
  const auto x = host(a.x, kRows * kHidden);
  const auto turns = host(a.turns, kRows * 64);
  Error error, turned;
  for (int i = 0; i < kRows * kHidden; ++i)
    error.add(from_bf16(x[i]), weight_at(w, 90, ids[i / kHidden], i % kHidden));
  for (int i = 0; i < 64; ++i) turned.add(turns[64 + i].x, std::cos(70.0 * frequency[i]));
  for (int i = 0; i < 64; ++i) turned.add(turns[64 + i].y, std::sin(70.0 * frequency[i]));
  const auto slots = host(a.slots, kRows);
  launch(s, argmax, dim3(7, kRows), kThreads, 0, device(logits), kVocab, device<Choice>(7 * kRows),
         device(std::vector<int>(kRows)), a);
  const auto best = host(a.ids, kRows), next = host(a.positions, kRows);
  const float* third = logits.data() + 2 * kVocab;
  expect(error.value() < 3e-3 && turned.value() < 1e-5 &&
             slots == std::vector<int>({3 * 64, 6 * 64 + 6, -1}),
         "embedding, turns and slots");
  expect(best[0] == 17 && best[1] == 4095 &&
             best[2] == std::max_element(third, third + kVocab) - third &&
             next == std::vector<int>({1, 71, -1}),
         "argmax and next positions");
}

}  // namespace
}  // namespace bench

int main() {
  using namespace bench;
  check_product<false>(4096, 4096, 1);
  check_product<false>(4096, 14336, 2);
  check_product<false>(896, 896, 3);
  check_product<false>(2064, 256, 4);
  check_product<true>(6144, 4096, 5);
  check_product<true>(512, 8192, 6);
  for (int rows : {1, 3, 8, 12, 40}) check_epilogues(rows);
  check_attention({2, 4, 1, {0, 31, 32, 63, 5}});
  check_attention({1, 8, 17, {1000, 255, 256, -1, 600, 1087, 511}});
  check_attention({2, 1, 5, {319}});
  check_attention({8, 4, 67, {4287, 128}});
  check_ends();
  std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
