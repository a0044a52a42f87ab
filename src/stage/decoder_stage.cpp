#include "stage/decoder_stage.h"

#include <fmt/format.h>
#include <mlx/mlx.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "models/model_bytes.h"
#include "stage/hidden.h"

namespace tandem::stage {
namespace {

cache::Storage storage_of(const kernels::Ops& ops) {
  return ops.keeps_pages() ? cache::Storage::kPages : cache::Storage::kArrays;
}

std::vector<cache::LayerKv> layers_of(const models::Decoder& decoder) {
  const auto kept = decoder.kept();
  const auto windows = decoder.windows();
  std::vector<cache::LayerKv> layers;
  for (std::size_t i = 0; i < kept.size(); ++i) layers.push_back({kept[i], windows.at(i)});
  return layers;
}

}  // namespace

DecoderStage::DecoderStage(StageParts parts)
    : parts_(std::move(parts)),
      cache_(layers_of(*parts_.decoder), parts_.info.kv_bytes_max, storage_of(*parts_.ops)) {
  parts_.info.states = cache_.states();
}

std::uint64_t DecoderStage::memory_bytes() const {
  return parts_.info.weight_bytes + cache_.bytes_held();
}

std::optional<std::uint64_t> DecoderStage::progress() const { return parts_.ops->steps(); }

Result<StageOutput> DecoderStage::run(const Tick& tick, const Hidden& in) {
  const HiddenRules rules{first(), parts_.info.hidden_size, parts_.info.hidden_dtype};
  if (Status status = check_tick(tick, in, rules); !status.ok()) return named(status.error());
  // MLX reports failures by exceptions; none may leave this folder.
  try {
    return compute(tick, in);
  } catch (const std::exception& failure) {
    parts_.ops->settle();
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
    output.hidden = to_hidden(*parts_.ops, forward(tick, admission, in), parts_.info.hidden_dtype);
  }
  output.refusals = admission.refusals;
  return output;
}

/// The hidden states that came, without the rows that this stage refuses.
mx::array DecoderStage::received(const Tick& tick, const Admission& admission,
                                 const Hidden& in) const {
  mx::array hidden = to_array(*parts_.ops, in);
  if (admission.refusals.empty()) return hidden;
  return parts_.ops->take_rows(hidden, parts_.ops->upload(admitted_rows(tick, admission)));
}

mx::array DecoderStage::forward(const Tick& tick, const Admission& admission, const Hidden& in) {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
  std::vector<kernels::SequenceRows> sequences;
  sequences.reserve(admission.entries.size());
  for (const Admitted& each : admission.entries) {
    const TickEntry& entry = *each.entry;
    const auto row = static_cast<int>(positions.size());
    const auto count = static_cast<int>(each.count());
    sequences.push_back({row, count, entry.position, cache_.layers(entry.sequence)});
    ids.push_back(each.first);
    ids.insert(ids.end(), entry.tokens.begin() + 1, entry.tokens.end());
    for (int i = 0; i < count; ++i) {
      positions.push_back(static_cast<std::int32_t>(entry.position) + i);
    }
  }
  const kernels::Ops& ops = *parts_.ops;
  mx::array hidden =
      first() ? parts_.decoder->embed(ops.upload(ids)) : received(tick, admission, in);
  return parts_.decoder->forward(std::move(hidden), {ops.upload(positions), std::move(sequences)});
}

TickResult DecoderStage::finish(const Tick& tick, const Admission& admission, const Hidden& in) {
  TickOutput output(tick, admission, states_, parts_.info.vocabulary, *parts_.pool);
  if (!admission.entries.empty()) take_logits(output, forward(tick, admission, in));
  TickResult result = std::move(output).result();
  name_errors(parts_.info.layers, admission, result);
  return result;
}

void DecoderStage::take_logits(TickOutput& output, mx::array hidden) {
  const kernels::Ops& ops = *parts_.ops;
  const auto rows = output.rows();
  const std::size_t row_bytes = static_cast<std::size_t>(parts_.info.vocabulary) * sizeof(float);
  const std::size_t slice = std::max<std::size_t>(1, models::kLogitsBytesMax / row_bytes);
  // Evaluated by itself only when no single head depends on all of it.
  if (rows.empty() || rows.size() > slice) hidden = ops.ready(hidden);
  const bool all = rows.size() == static_cast<std::size_t>(hidden.shape(0));
  for (std::size_t begin = 0; begin < rows.size(); begin += slice) {
    const auto part = rows.subspan(begin, std::min(slice, rows.size() - begin));
    const mx::array picked =
        all && part.size() == rows.size() ? hidden : ops.take_rows(hidden, ops.upload(part));
    mx::array logits = ops.ready(parts_.decoder->head(picked));
    output.take(begin, part.size(), logits.data<float>());
  }
}

}  // namespace tandem::stage
