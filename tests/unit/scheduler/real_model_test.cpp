// On the model that comes with tandem, and on one with recurrent layers: whatever the engine does
// with a request, its tokens and their probabilities are those of the request alone, to the last
// bit.

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cluster/gateway/local_pipeline.h"
#include "scheduler/engine.h"
#include "support/temp_folder.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/stage/families.h"

namespace tandem::scheduler {
namespace {

using Ids = std::vector<std::int32_t>;

/// Ids and the bits of log-probabilities, of the answer and of scored prompt tokens.
using Trace = std::vector<std::pair<std::int32_t, std::uint32_t>>;

struct Variant {
  std::string name;
  std::uint64_t kv_pages = 0;
  std::uint64_t slots = 0;  // of sequences with recurrent layers
  EngineOptions options;
};

struct Model {
  std::string name;
  bool recurrent = false;
  kernels::Activations activations = kernels::Activations::kF32;
};

void PrintTo(const Model& model, std::ostream* out) { *out << model.name; }

std::uint64_t kv_bytes(const StageInfo& info, const Variant& variant) {
  std::uint64_t bytes = 0;
  for (const StateGroup& group : info.states) {
    bytes += group.page_bytes * (group.rule().recurrent() ? variant.slots : variant.kv_pages);
  }
  return bytes;
}

std::unique_ptr<Pipeline> open(const std::filesystem::path& folder,
                               kernels::Activations activations, std::uint64_t kv_bytes) {
  stage::StageOptions options;
  options.folder = folder;
  options.activations = activations;
  options.kv_bytes_max = kv_bytes;
  options.threads = 2;
  auto pipeline = cluster::local_pipeline(options, {});
  if (!pipeline.ok()) {
    ADD_FAILURE() << pipeline.error().message;
    return nullptr;
  }
  return std::move(*pipeline);
}

/// Prompts that share beginnings, some the same; every kind of sampling.
std::vector<Request> requests(std::int32_t vocabulary) {
  std::mt19937 random(20);
  std::uniform_int_distribution<std::int32_t> pick(0, vocabulary - 1);
  const auto ids = [&](std::size_t count) {
    Ids out(count);
    for (std::int32_t& id : out) id = pick(random);
    return out;
  };
  const Ids system = ids(100);
  std::vector<Request> all;
  for (std::size_t i = 0; i < 6; ++i) {
    Ids prompt = system;
    prompt.resize(std::min<std::size_t>(100, 40 * i));
    const Ids rest = i % 3 == 2 ? Ids{} : ids(1 + 13 * i);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    if (prompt.empty()) prompt = system;
    Request request = request_of(prompt, i < 2 ? 130 : 20);
    request.sampling.seed = i;
    if (i % 2 == 0) request.sampling.temperature = 0.9F;
    if (i % 4 == 1) request.sampling.repetition_penalty = 1.2F;
    request.score = i == 4;
    all.push_back(request);
  }
  return all;
}

Trace& collect(std::map<std::uint64_t, Trace>& traces, const Event& event) {
  Trace& trace = traces[event.sequence];
  for (const TokenScore& score : event.scores) {
    trace.emplace_back(score.token.id, std::bit_cast<std::uint32_t>(score.token.logprob));
  }
  if (event.token) {
    trace.emplace_back(event.token->id, std::bit_cast<std::uint32_t>(event.token->logprob));
  }
  return trace;
}

/// Adds a request every `apart` steps; 0: each when the one before has ended.
std::vector<Trace> run(Engine& engine, const std::vector<Request>& asked, int apart) {
  std::map<std::uint64_t, Trace> traces;
  std::vector<std::uint64_t> ids;
  std::size_t next = 0;
  for (int step = 0; next < asked.size() || engine.busy(); ++step) {
    if (next < asked.size() && (apart == 0 ? !engine.busy() : step % apart == 0)) {
      const auto id = engine.add(asked[next++]);
      if (!id.ok()) ADD_FAILURE() << id.error().message;
      if (id.ok()) ids.push_back(*id);
    }
    const auto events = engine.step(soon());
    if (!events.ok()) {
      ADD_FAILURE() << events.error().message;
      break;
    }
    for (const Event& event : *events) {
      EXPECT_FALSE(event.error.has_value()) << event.error->message;
      collect(traces, event);
    }
  }
  std::vector<Trace> out;
  for (const std::uint64_t id : ids) out.push_back(traces[id]);
  return out;
}

class RealModel : public ::testing::TestWithParam<Model> {
 protected:
  RealModel() : folder_(std::filesystem::path(TANDEM_SOURCE_DIR) / "models" / "tandem-demo") {
    if (!GetParam().recurrent) return;
    folder_ = made_.path();
    stage::testing::family_model("qwen3_5_moe", 4, 0, 7).write(folder_);
  }
  std::unique_ptr<Pipeline> open(std::uint64_t bytes) const {
    return scheduler::open(folder_, GetParam().activations, bytes);
  }

 private:
  tandem::testing::TempFolder made_;
  std::filesystem::path folder_;
};

TEST_P(RealModel, EveryRequestAnswersAsItDoesAlone) {
  const auto first = open(0);
  ASSERT_NE(first, nullptr);
  const StageInfo info = first->ranks().front().stage;
  const std::vector<Request> asked = requests(info.vocabulary);
  Engine alone(*first, {.prefix_bytes = 0});
  const std::vector<Trace> expected = run(alone, asked, 0);
  EXPECT_EQ(alone.stats().prefix_hits, 0U);
  const Variant variants[] = {
      {"together", 1000, 50, {}},
      {"in small chunks", 1000, 50, {.prefill_step_size = 7, .mixed_rows = 3}},
      {"with little memory", 5, 3, {.prefill_step_size = 50}},
      {"without prefixes", 8, 2, {.mixed_rows = 1, .prefix_bytes = 0}},
  };
  std::uint64_t preemptions = 0;
  std::uint64_t found = 0;
  for (const Variant& variant : variants) {
    const auto pipeline = open(kv_bytes(info, variant));
    ASSERT_NE(pipeline, nullptr);
    Engine engine(*pipeline, variant.options);
    EXPECT_EQ(run(engine, asked, 3), expected) << variant.name;
    preemptions += engine.stats().preemptions;
    found += engine.stats().prefix_tokens;
  }
  EXPECT_GT(preemptions, 0U);
  EXPECT_GT(found, 100U);
}

INSTANTIATE_TEST_SUITE_P(Models, RealModel,
                         ::testing::Values(Model{"f32", false, kernels::Activations::kF32},
                                           Model{"int8", false, kernels::Activations::kInt8},
                                           Model{"recurrent_f32", true, kernels::Activations::kF32},
                                           Model{"recurrent_bf16", true,
                                                 kernels::Activations::kBF16}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace tandem::scheduler
