// Mixture of experts at the shapes of Qwen3-30B-A3B with random weights of 4 bits: a layer against
// float64, bits of a row beside others, and whole tokens by one kernel and as a graph.
//
//     moe [LAYERS]

#include <set>

#include "mixture.cuh"

namespace bench {
namespace {

int failures = 0;
void expect(bool right, const char* what) {
  if (!right) ++failures;
  std::printf("%s %s\n", right ? "ok    " : "FAILED", what);
}

double value(u32 seed, int row, int groups, int column) {
  const u64 word = static_cast<u64>(row) * groups * 8 + column / 8;
  const u32 scale = scale_of(seed, row, column / 64, groups);
  return from_bf16(static_cast<u16>(scale)) * (hash(seed, word) >> column % 8 * 4 & 15) +
         from_bf16(static_cast<u16>(scale >> 16));
}

/// Rows of the mixture of a model's first layer: choice and output of three against float64, and
/// the bits of all beside others and alone.
void check_mixture(const Model& m) {
  constexpr int kRows = 32;
  const Layer& l = m.layers[0];
  Stream s;
  s.dependent = true;
  std::vector<u16> x(kRows * kHidden);
  for (size_t i = 0; i < x.size(); ++i) x[i] = to_bf16(2 * uniform(77, i));
  const Room room(kRows, 0);
  const auto run = [&](int first, int rows) {
    Room r = room;
    check(cudaMemcpy(r.step.x, x.data() + first * kHidden, rows * kHidden * 2,
                     cudaMemcpyHostToDevice),
          "x");
    check(cudaMemset(r.y, 0xff, static_cast<size_t>(rows) * kTop * kHidden * 4), "memset");
    check(cudaMemset(r.inner, 0xff, rows * kTop * kInner * 2), "memset");
    mixture(s, l, r, rows);
    return host(r.step.x, rows * kHidden);
  };
  std::vector<u16> alone;
  for (int i = 0; i < kRows; ++i) {
    const auto one = run(i, 1);
    alone.insert(alone.end(), one.begin(), one.end());
  }
  int different = 0;
  for (int rows : {2, 3, 7, 8, 9, 16, 31, 32}) {
    const auto got = run(0, rows);
    different += std::memcmp(got.data(), alone.data(), got.size() * 2) != 0;
  }
  char line[160];
  std::snprintf(line, sizeof line, "mixture: row counts of 8 with other bits than alone: %d",
                different);
  expect(different == 0, line);

  const auto ids = host(room.ids, kRows * kTop);  // of all 32 rows
  const auto weights = host(room.weights, kRows * kTop);
  const auto router = host(reinterpret_cast<const u16*>(l.router), kExperts * kHidden);
  const auto norm = host(l.norm2, kHidden);
  double error = 0, size = 0, weight_error = 0;
  int other = 0;
  for (int row : {0, 13, 31}) {
    std::vector<double> v(kHidden);
    double squares = 0;
    for (int i = 0; i < kHidden; ++i) {
      v[i] = from_bf16(x[row * kHidden + i]);
      squares += v[i] * v[i];
    }
    const double inverse = 1 / std::sqrt(squares / kHidden + kEpsilon);
    for (int i = 0; i < kHidden; ++i) {
      v[i] = from_bf16(to_bf16(static_cast<float>(v[i] * inverse * from_bf16(norm[i]))));
    }
    std::vector<std::pair<double, int>> order;
    for (int e = 0; e < kExperts; ++e) {
      double sum = 0;
      for (int i = 0; i < kHidden; ++i) {
        // Where store_chunk() puts element i: see rows.cuh.
        const int pair = i % 4, half = pair / 2, at = i % 16 / 8 * 2 + i % 8 / 4;
        const int place = ((i / 64 * 2 + half) * 4 + i % 64 / 16) * 8 + pair % 2 * 4 + at;
        sum += v[i] * from_bf16(router[e * kHidden + place]);
      }
      order.push_back({-sum, e});
    }
    std::sort(order.begin(), order.end());
    std::vector<int> want;
    double total = 0;
    for (int k = 0; k < kTop; ++k) want.push_back(order[k].second);
    for (int k = 0; k < kTop; ++k) total += std::exp(order[0].first - order[k].first);
    std::sort(want.begin(), want.end());
    for (int k = 0; k < kTop; ++k) other += ids[row * kTop + k] != want[k];
    std::vector<double> y(kHidden);
    for (int k = 0; k < kTop; ++k) {
      const int e = want[k];
      double weight = 0;
      for (const auto& [logit, id] : order) {
        if (id == e) weight = std::exp(order[0].first - logit) / total;
      }
      weight_error = std::max(weight_error, std::abs(weight - weights[row * kTop + k]));
      std::vector<double> inner(kInner);
      for (int n = 0; n < kInner; ++n) {
        double gate = 0, up = 0;
        for (int i = 0; i < kHidden; ++i) {
          gate += v[i] * value(1002, e * kInner + n, kHidden / 64, i);
          up += v[i] * value(1002, (kExperts + e) * kInner + n, kHidden / 64, i);
        }
        inner[n] = gate / (1 + std::exp(-gate)) * up;
      }
      for (int n = row; n < kHidden; n += 37) {
        double sum = 0;
        for (int i = 0; i < kInner; ++i) {
          sum += inner[i] * value(1003, e * kHidden + n, kInner / 64, i);
        }
        y[n] += weight * sum;
      }
    }
    for (int n = row; n < kHidden; n += 37) {
      const double before = from_bf16(x[row * kHidden + n]);
      const double d = from_bf16(alone[row * kHidden + n]) - (before + y[n]);
      error += d * d;
      size += (before + y[n]) * (before + y[n]);
    }
  }
  std::snprintf(line, sizeof line,
                "mixture against float64: error %.1e, weights %.1e, other experts %d",
                std::sqrt(error / size), weight_error, other);
  expect(std::sqrt(error / size) < 3e-3 && weight_error < 1e-5 && other == 0, line);
}

void compare_one_kernel(const Stream& s, const Model& m) {
  for (int context : {5, 300, 2000}) {
    const Room many(1, context), one(1, context);
    for (int step = 0; step < 5; ++step) forward(s, m, many, 1, context / kSplit + 2, kAll);
    OneKernel(m, one, 3).launch_on(s);
    OneKernel(m, one, 1).launch_on(s);
    OneKernel(m, one, 1).launch_on(s);
    const auto want = host(many.logits, kVocab), got = host(one.logits, kVocab);
    char line[120];
    std::snprintf(line, sizeof line, "5 steps by one kernel from position %d: tokens %d and %d",
                  context, host(many.step.ids, 1)[0], host(one.step.ids, 1)[0]);
    expect(std::memcmp(want.data(), got.data(), kVocab * 4) == 0, line);
  }
}

/// A row's logits after 3 steps beside 31 others, and alone over the same pages.
void compare_rows(const Stream& s, const Model& m) {
  constexpr int kRows = 32, kContext = 300;
  const Room all(kRows, kContext);
  for (int step = 0; step < 3; ++step) forward(s, m, all, kRows, 3, kAll);
  const auto together = host(all.logits, static_cast<size_t>(kRows) * kVocab);
  int different = 0;
  for (int row : {0, 5, 31}) {
    Room one(1, kContext, 1 + 997 * row);
    one.step.table = one.attention.table = all.step.table + row * kStride;
    for (int step = 0; step < 3; ++step) forward(s, m, one, 1, 3, kAll);
    const auto alone = host(one.logits, kVocab);
    different += std::memcmp(alone.data(), together.data() + static_cast<size_t>(row) * kVocab,
                             kVocab * 4) != 0;
  }
  expect(different == 0, "3 steps of 32 rows have the bits of rows alone");
}

void run(int layers) {
  const Model m = random_model(layers, 32 * kStride);
  check(cudaDeviceSynchronize(), "model");
  std::printf("%d layers, %.3f GB of weights a token\n", layers, m.bytes / 1e9);
  check_mixture(m);
  Stream s;
  compare_one_kernel(s, m);  // several steps in a row: attention reads positions at once
  compare_rows(s, m);
  s.dependent = true;
  for (int context : {128, 1024, 8192}) {
    const Room room(1, context);
    const OneKernel one(m, room, 1);
    const float ms = Graph(s, [&] { one.launch_on(s); }).time(7, 10);
    std::printf(" 1 row, context %4d, one kernel: %.3f ms = %.0f tok/s\n", context, ms, 1e3 / ms);
  }
  for (int rows : {1, 2, 8, 32}) {
    for (int context : {128, 1024, 8192}) {
      float ms[2];
      for (bool dependent : {false, true}) {
        s.dependent = dependent;
        const Room room(rows, context);
        const int splits = (context + 600) / kSplit + 1;
        ms[dependent] = Graph(s, [&] { forward(s, m, room, rows, splits, kAll); }).time(5, 5);
        const auto ids = host(room.ids, rows * kTop);
        if (dependent) {
          std::printf(
              "%2d rows, context %4d: plain %.3f ms, dependent %.3f ms = %.0f tok/s, "
              "%d experts of the last layer\n",
              rows, context, ms[0], ms[1], rows / std::min(ms[0], ms[1]) * 1e3,
              static_cast<int>(std::set<int>(ids.begin(), ids.end()).size()));
        }
      }
    }
  }
  for (int rows : {1, 8, 32}) {
    const Room room(rows, 128);
    const auto time = [&](int parts) {
      return Graph(s, [&] { forward(s, m, room, rows, 3, parts); }).time(5, 5);
    };
    const float all = time(kAll);
    std::printf("%2d rows, context 128, without", rows);
    const char* names[] = {"qkv",  "attention", "o",    "route", "gate-up",
                           "down", "combine",   "head", "ends"};
    for (int i = 0; i < 9; ++i) std::printf(" %s %.3f", names[i], all - time(kAll & ~(1 << i)));
    std::printf(" ms less of %.3f\n", all);
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  bench::run(argc > 1 ? std::atoi(argv[1]) : 48);
  std::printf("%d checks failed\n", bench::failures);
  return bench::failures == 0 ? 0 : 1;
}
