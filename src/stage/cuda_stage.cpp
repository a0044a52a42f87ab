#include "stage/cuda_stage.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "stage/tick_check.h"

namespace tandem::stage {
namespace {

std::vector<cache::LayerKv> layers_of(const CudaStage::Parts& parts) {
  return {static_cast<std::size_t>(parts.info.layers.last - parts.info.layers.first), parts.kv};
}

std::size_t rows_of(const Admission& admission) {
  std::size_t rows = 0;
  for (const Admitted& each : admission.entries) rows += each.count();
  return rows;
}

/// Appends a row as bf16.
void append_row(std::vector<std::byte>& to, const Hidden& from, std::size_t row) {
  const auto cols = static_cast<std::size_t>(from.cols);
  if (from.dtype == DType::kBF16) {
    const std::byte* begin = from.bytes.data() + row * cols * 2;
    to.insert(to.end(), begin, begin + cols * 2);
    return;
  }
  std::vector<float> values(cols);
  std::memcpy(values.data(), from.bytes.data() + row * cols * 4, cols * 4);
  const auto rounded = cuda::to_bf16(values);
  const auto bytes = std::as_bytes(std::span(rounded));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::vector<std::byte> widened(std::span<const std::byte> bf16) {
  std::vector<std::byte> wide(bf16.size() * 2);
  for (std::size_t i = 0; i < bf16.size() / 2; ++i) {
    std::memcpy(wide.data() + i * 4 + 2, bf16.data() + i * 2, 2);
  }
  return wide;
}

/// The likeliest for rows that the device does not draw.
cuda::DrawArgs draw_of(const TickOutput& output, std::size_t row) {
  const auto draw = output.plain_draw(row);
  if (!draw || draw->temperature == 0) return {0, 0};
  constexpr float kMost = 1e30F;  // times a difference of 0 it is no NaN
  return {std::min(1 / draw->temperature, kMost), static_cast<float>(draw->at)};
}

static_assert(std::endian::native == std::endian::little);

}  // namespace

CudaStage::CudaStage(Parts parts)
    : parts_(std::move(parts)),
      cache_(layers_of(parts_), parts_.info.kv_bytes_max, cache::Storage::kElsewhere) {
  parts_.info.states = cache_.states();
}

std::uint64_t CudaStage::memory_bytes() const {
  return parts_.info.weight_bytes + cache_.bytes_held();
}

Result<StageOutput> CudaStage::run(const Tick& tick, const Hidden& in) {
  const HiddenRules rules{first(), parts_.info.hidden_size, parts_.info.hidden_dtype};
  if (Status status = check_tick(tick, in, rules); !status.ok()) return named(status.error());
  const Admission admission = admit(parts_.info, tick, cache_, states_);
  std::vector<cuda::BlockCopy> copies;
  for (const cache::BlockCopy& each : cache_.take_copies()) copies.push_back({each.from, each.to});
  if (Status status = parts_.executor->copy_blocks(copies); !status.ok()) {
    return named(status.error());
  }
  StageOutput output;
  if (last()) {
    auto result = finish(tick, admission, in);
    if (!result.ok()) return named(result.error());
    output.result = *std::move(result);
  } else {
    Status status = admission.entries.empty() ? Status() : forward(tick, admission, in);
    if (!status.ok()) return named(status.error());
    auto rows = hidden(admission);
    if (!rows.ok()) return named(rows.error());
    output.hidden = *std::move(rows);
  }
  output.refusals = admission.refusals;
  return output;
}

/// The hidden states that came, without the rows that this stage refuses.
std::vector<std::byte> CudaStage::received(const Tick& tick, const Admission& admission,
                                           const Hidden& in) const {
  std::vector<std::byte> rows;
  const auto kept = admitted_rows(tick, admission);
  rows.reserve(kept.size() * static_cast<std::size_t>(in.cols) * 2);
  for (const std::int32_t row : kept) append_row(rows, in, static_cast<std::size_t>(row));
  return rows;
}

Status CudaStage::forward(const Tick& tick, const Admission& admission, const Hidden& in) {
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<cuda::BatchRows> batch;
  ids.reserve(admission.entries.size());
  for (const Admitted& each : admission.entries) {
    const TickEntry& entry = *each.entry;
    auto& mine = ids.emplace_back(entry.tokens.begin(), entry.tokens.end());
    mine.front() = each.first;
    batch.push_back({entry.position, mine, cache_.blocks(entry.sequence)});
  }
  const auto rows = first() ? std::vector<std::byte>() : received(tick, admission, in);
  return parts_.executor->forward(batch, rows);
}

Result<Hidden> CudaStage::hidden(const Admission& admission) {
  const std::size_t rows = rows_of(admission);
  Hidden out{
      parts_.info.hidden_dtype, static_cast<std::int32_t>(rows), parts_.info.hidden_size, {}};
  if (rows == 0) return out;
  std::vector<std::byte> bytes(rows * static_cast<std::size_t>(parts_.info.hidden_size) * 2);
  if (Status status = parts_.executor->hidden(bytes); !status.ok()) return status.error();
  if (out.dtype == DType::kF32) bytes = widened(bytes);
  out.bytes = SharedBytes(std::move(bytes));
  return out;
}

Result<TickResult> CudaStage::finish(const Tick& tick, const Admission& admission,
                                     const Hidden& in) {
  TickOutput output(tick, admission, states_, parts_.info.vocabulary, *parts_.pool);
  if (!admission.entries.empty()) {
    Status status = forward(tick, admission, in);
    if (status.ok()) status = take_logits(output);
    if (!status.ok()) return status.error();
  }
  TickResult result = std::move(output).result();
  name_errors(parts_.info.layers, admission, result);
  return result;
}

/// Draws what the device can, and hands the logits of other rows to the sampler.
Status CudaStage::take_logits(TickOutput& output) {
  const auto rows = output.rows();
  for (std::size_t begin = 0; begin < rows.size(); begin += cuda::kRowsMost) {
    const auto part =
        rows.subspan(begin, std::min<std::size_t>(cuda::kRowsMost, rows.size() - begin));
    std::vector<cuda::DrawArgs> draws;
    for (std::size_t i = 0; i < part.size(); ++i) draws.push_back(draw_of(output, begin + i));
    const auto drawn = parts_.executor->head(part, draws);
    if (!drawn.ok()) return drawn.error();
    std::size_t i = 0;
    while (i < part.size()) {
      if (output.plain_draw(begin + i)) {
        const cuda::Summary& row = (*drawn)[i];
        output.take_drawn(begin + i, {row.id, row.logit - row.best - std::log(row.sum)});
        ++i;
        continue;
      }
      std::size_t end = i + 1;
      while (end < part.size() && !output.plain_draw(begin + end)) ++end;
      const auto logits = parts_.executor->logits(i, end - i);
      if (!logits.ok()) return logits.error();
      output.take(begin + i, end - i, logits->data());
      i = end;
    }
  }
  return {};
}

}  // namespace tandem::stage
