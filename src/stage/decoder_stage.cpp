#include "stage/decoder_stage.h"

#include <fmt/format.h>
#include <mlx/mlx.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "kernels/layout.h"
#include "models/model_bytes.h"
#include "stage/hidden.h"

namespace tandem::stage {
namespace {

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

std::vector<cache::LayerKv> layers_of(const models::Decoder& decoder) {
  const auto specs = decoder.kv_specs();
  const auto windows = decoder.windows();
  std::vector<cache::LayerKv> layers;
  for (std::size_t i = 0; i < specs.size(); ++i) layers.push_back({specs[i], windows.at(i)});
  return layers;
}

}  // namespace

DecoderStage::DecoderStage(StageParts parts)
    : parts_(std::move(parts)),
      cache_(layers_of(*parts_.decoder), parts_.info.kv_bytes_max, storage_of(parts_.context)) {
  parts_.info.states = cache_.states();
}

std::uint64_t DecoderStage::memory_bytes() const {
  return parts_.info.weight_bytes + cache_.bytes_held();
}

std::optional<std::uint64_t> DecoderStage::progress() const {
  if (parts_.context.backend != kernels::Backend::kCpu) return std::nullopt;
  return parts_.pool->steps();
}

Result<StageOutput> DecoderStage::run(const Tick& tick, const Hidden& in) {
  const HiddenRules rules{first(), parts_.info.hidden_size, parts_.info.hidden_dtype};
  if (Status status = check_tick(tick, in, rules); !status.ok()) return named(status.error());
  // MLX reports failures by exceptions; none may leave this folder.
  try {
    return compute(tick, in);
  } catch (const std::exception& failure) {
    settle(parts_.context.stream);
    return named({ErrorCode::kInternal, fmt::format("the computation failed: {}", failure.what())});
  }
}

Result<StageOutput> DecoderStage::compute(const Tick& tick, const Hidden& in) {
  const Admission admission = admit(parts_.info, tick, cache_, states_);
  StageOutput output;
  if (last()) {
    output.result = finish(tick, admission, in);
  } else if (admission.entries.empty()) {
    output.hidden = Hidden{parts_.info.hidden_dtype, 0, parts_.info.hidden_size, {}};
  } else {
    output.hidden =
        to_hidden(parts_.context, forward(tick, admission, in), parts_.info.hidden_dtype);
  }
  output.refusals = admission.refusals;
  return output;
}

/// The hidden states that came, without the rows that this stage refuses.
mx::array DecoderStage::received(const Tick& tick, const Admission& admission,
                                 const Hidden& in) const {
  mx::array hidden = to_array(parts_.context, in);
  if (admission.refusals.empty()) return hidden;
  return mx::take(hidden, int_array(admitted_rows(tick, admission)), 0, parts_.context.stream);
}

mx::array DecoderStage::forward(const Tick& tick, const Admission& admission, const Hidden& in) {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
  const auto layer_count =
      static_cast<std::size_t>(parts_.info.layers.last - parts_.info.layers.first);
  std::vector<std::vector<kernels::SequenceRows>> rows(layer_count);
  for (const Admitted& each : admission.entries) {
    const TickEntry& entry = *each.entry;
    const auto row = static_cast<int>(positions.size());
    const auto count = static_cast<int>(each.count());
    const auto layers = cache_.layers(entry.sequence);
    for (std::size_t i = 0; i < layer_count; ++i) {
      rows[i].push_back({row, count, entry.position, &layers[i]});
    }
    ids.push_back(each.first);
    ids.insert(ids.end(), entry.tokens.begin() + 1, entry.tokens.end());
    for (int i = 0; i < count; ++i) {
      positions.push_back(static_cast<std::int32_t>(entry.position) + i);
    }
  }
  mx::array hidden =
      first() ? parts_.decoder->embed(int_array(ids)) : received(tick, admission, in);
  return parts_.decoder->forward(std::move(hidden), {int_array(positions), rows});
}

TickResult DecoderStage::finish(const Tick& tick, const Admission& admission, const Hidden& in) {
  TickOutput output(tick, admission, states_, parts_.info.vocabulary, *parts_.pool);
  if (!admission.entries.empty()) take_logits(output, forward(tick, admission, in));
  TickResult result = std::move(output).result();
  name_errors(parts_.info.layers, admission, result);
  return result;
}

void DecoderStage::take_logits(TickOutput& output, const mx::array& hidden) {
  const auto rows = output.rows();
  const std::size_t row_bytes = static_cast<std::size_t>(parts_.info.vocabulary) * sizeof(float);
  const std::size_t slice = std::max<std::size_t>(1, models::kLogitsBytesMax / row_bytes);
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
