#include "stage/decoder_stage.h"

#include <fmt/format.h>
#include <mlx/mlx.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "config/message.h"
#include "models/model_bytes.h"
#include "stage/hidden.h"

namespace tandem::stage {
namespace {

cache::Storage storage_of(const kernels::Ops& ops) {
  return ops.keeps_pages() ? cache::Storage::kPages : cache::Storage::kArrays;
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
      cache_(layers_of(*parts_.decoder), parts_.info.kv_bytes_max, storage_of(*parts_.ops)) {
  parts_.info.states = cache_.states();
}

std::uint64_t DecoderStage::memory_bytes() const {
  return parts_.info.weight_bytes + cache_.bytes_held();
}

std::optional<std::uint64_t> DecoderStage::progress() const { return parts_.ops->steps(); }

Error DecoderStage::named(const Error& error) const {
  const LayerRange& layers = parts_.info.layers;
  return {error.code, config::one_line(fmt::format("layers [{}, {}): {}", layers.first, layers.last,
                                                   error.message))};
}

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

Admission DecoderStage::admit(const Tick& tick) {
  const Drawn drawn = parts_.info.feeds_itself() ? Drawn::kKnown : Drawn::kUnknown;
  Admitter admitter(cache_, last() ? &states_ : nullptr,
                    {parts_.info.vocabulary, parts_.info.context_max}, drawn);
  Admission admission = admitter.admit(tick);
  for (Refusal& refusal : admission.refusals) refusal.error = named(refusal.error);
  return admission;
}

Result<StageOutput> DecoderStage::compute(const Tick& tick, const Hidden& in) {
  const Admission admission = admit(tick);
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
  std::vector<std::int32_t> kept;
  std::int32_t row = 0;
  auto next = admission.entries.begin();
  for (std::size_t i = 0; i < tick.entries.size(); ++i) {
    if (tick.entries[i].refused) continue;
    const bool admitted = next != admission.entries.end() && next->index == i;
    if (admitted) ++next;
    for (std::size_t n = tick.entries[i].tokens.size(); n > 0; --n, ++row) {
      if (admitted) kept.push_back(row);
    }
  }
  return parts_.ops->take_rows(hidden, parts_.ops->upload(kept));
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
  for (const Admitted& each : admission.entries) {
    std::optional<Error>& error = result.entries[each.index].error;
    if (error) error = named(*error);
  }
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
