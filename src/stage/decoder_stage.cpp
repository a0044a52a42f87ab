#include "stage/decoder_stage.h"

#include <fmt/format.h>
#include <mlx/mlx.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "config/message.h"
#include "kernels/layout.h"
#include "stage/hidden.h"

namespace tandem::stage {
namespace {

/// Most bytes of logits that exist at once: a long scored chunk goes through the head in slices.
constexpr std::size_t kLogitsBytesMax = std::size_t{64} << 20;

std::vector<cache::Append> appends_of(const Tick& tick) {
  std::vector<cache::Append> appends;
  appends.reserve(tick.entries.size());
  for (const TickEntry& entry : tick.entries) {
    appends.push_back(
        {entry.sequence, entry.position, static_cast<std::uint32_t>(entry.tokens.size())});
  }
  return appends;
}

mx::array int_array(const std::vector<std::int32_t>& values) {
  return mx::array(values.data(), mx::Shape{static_cast<int>(values.size())}, mx::int32);
}

cache::Storage storage_of(const kernels::Context& context) {
  return context.backend == kernels::Backend::kCpu ? cache::Storage::kPages
                                                   : cache::Storage::kArrays;
}

/// Waits until no node of a failed tick runs: they read pages that the next tick may free. Takes
/// further failures of the tick off the stream, or the next one would get them.
void settle(const mx::Stream& stream) {
  constexpr int kAttempts = 3;  // MLX keeps one failure a stream
  for (int i = 0; i < kAttempts; ++i) {
    try {
      return mx::synchronize(stream);
    } catch (const std::exception&) {
      continue;  // what failed first is known already
    }
  }
}

}  // namespace

DecoderStage::DecoderStage(StageParts parts)
    : parts_(std::move(parts)),
      cache_(parts_.decoder->kv_specs(), parts_.info.kv_bytes_max, storage_of(parts_.context)) {
  parts_.info.kv_bytes_per_token = cache_.bytes_per_token();
}

std::uint64_t DecoderStage::memory_bytes() const {
  return parts_.info.weight_bytes + cache_.bytes_held();
}

std::optional<std::uint64_t> DecoderStage::progress() const {
  if (parts_.context.backend != kernels::Backend::kCpu) return std::nullopt;
  return parts_.pool->steps();
}

TickRules DecoderStage::rules() const {
  return {first(), parts_.info.vocabulary, parts_.info.context_max, parts_.info.hidden_size,
          parts_.info.hidden_dtype};
}

Error DecoderStage::named(const Error& error) const {
  const LayerRange& layers = parts_.info.layers;
  return {error.code, config::one_line(fmt::format("layers [{}, {}): {}", layers.first, layers.last,
                                                   error.message))};
}

Result<StageOutput> DecoderStage::run(const Tick& tick, const Hidden& in) {
  if (Status status = check_tick(tick, in, rules()); !status.ok()) return named(status.error());
  // MLX reports failures by exceptions; none may leave this folder.
  try {
    // The last check, because it also makes the change.
    if (Status status = cache_.apply(tick.state_ops, appends_of(tick)); !status.ok()) {
      return named(status.error());
    }
    if (last()) states_.apply(tick);
    auto output = compute(tick, in);
    if (!output.ok()) return named(output.error());
    return output;
  } catch (const std::exception& failure) {
    settle(parts_.context.stream);
    return named({ErrorCode::kInternal, fmt::format("the computation failed: {}", failure.what())});
  }
}

Result<StageOutput> DecoderStage::compute(const Tick& tick, const Hidden& in) {
  StageOutput output;
  if (tick.entries.empty()) {  // state operations only
    if (last()) {
      output.result = TickResult{tick.epoch, tick.number, {}, {}};
    } else {
      output.hidden = Hidden{parts_.info.hidden_dtype, 0, parts_.info.hidden_size, {}};
    }
    return output;
  }
  const mx::array hidden = forward(tick, in);
  if (last()) {
    auto result = finish(tick, hidden);
    if (!result.ok()) return result.error();
    output.result = std::move(*result);
    return output;
  }
  output.hidden = to_hidden(parts_.context, hidden, parts_.info.hidden_dtype);
  return output;
}

mx::array DecoderStage::forward(const Tick& tick, const Hidden& in) {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
  const auto layer_count =
      static_cast<std::size_t>(parts_.info.layers.last - parts_.info.layers.first);
  std::vector<std::vector<kernels::SequenceRows>> rows(layer_count);
  for (const TickEntry& entry : tick.entries) {
    const auto row = static_cast<int>(positions.size());
    const auto count = static_cast<int>(entry.tokens.size());
    const auto layers = cache_.layers(entry.sequence);
    for (std::size_t i = 0; i < layer_count; ++i) {
      rows[i].push_back({row, count, entry.position, &layers[i]});
    }
    ids.insert(ids.end(), entry.tokens.begin(), entry.tokens.end());
    for (int i = 0; i < count; ++i) {
      positions.push_back(static_cast<std::int32_t>(entry.position) + i);
    }
  }
  mx::array hidden = first() ? parts_.decoder->embed(int_array(ids)) : to_array(parts_.context, in);
  return parts_.decoder->forward(std::move(hidden), {int_array(positions), rows});
}

Result<TickResult> DecoderStage::finish(const Tick& tick, const mx::array& hidden) {
  TickOutput output(tick, states_, parts_.info.vocabulary, *parts_.pool);
  take_logits(output, hidden);
  return std::move(output).result();
}

void DecoderStage::take_logits(TickOutput& output, const mx::array& hidden) {
  const auto rows = output.rows();
  const std::size_t row_bytes = static_cast<std::size_t>(parts_.info.vocabulary) * sizeof(float);
  const std::size_t slice = std::max<std::size_t>(1, kLogitsBytesMax / row_bytes);
  // Evaluated by itself only when no single head depends on all of it.
  if (rows.empty() || rows.size() > slice) mx::eval(hidden);
  const bool all = rows.size() == static_cast<std::size_t>(hidden.shape(0));
  for (std::size_t begin = 0; begin < rows.size(); begin += slice) {
    const auto part = rows.subspan(begin, std::min(slice, rows.size() - begin));
    const mx::array picked =
        all && part.size() == rows.size()
            ? hidden
            : mx::take(hidden, int_array({part.begin(), part.end()}), 0, parts_.context.stream);
    mx::array logits = kernels::ready(parts_.context, parts_.decoder->head(picked));
    output.take(begin, part.size(), logits.data<float>());
  }
}

}  // namespace tandem::stage
