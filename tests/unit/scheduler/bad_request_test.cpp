#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "scheduler/engine.h"
#include "unit/scheduler/engine_runs.h"
#include "unit/scheduler/fake_pipeline.h"

namespace tandem::scheduler {
namespace {

using ::testing::HasSubstr;

struct BadRequest {
  const char* expects;
  void (*spoil)(Request&);
};

TEST(Engine, RefusesBadRequestsByField) {
  FakePipeline pipeline(1);
  Engine engine(pipeline, {.context_max = 8, .waiting_max = 1});
  const BadRequest cases[] = {
      {"the prompt is empty", [](Request& r) { r.prompt.clear(); }},
      {"prompt: token id 1000 at index 1", [](Request& r) { r.prompt = {1, 1000}; }},
      {"prompt: token id -1 at index 0", [](Request& r) { r.prompt = {-1}; }},
      {"the prompt of 8 tokens is longer", [](Request& r) { r.prompt.assign(8, 1); }},
      {"max_tokens", [](Request& r) { r.max_tokens = -1; }},
      {"temperature", [](Request& r) { r.sampling.temperature = std::nanf(""); }},
      {"temperature", [](Request& r) { r.sampling.temperature = -1; }},
      {"top_p", [](Request& r) { r.sampling.top_p = 0; }},
      {"top_p", [](Request& r) { r.sampling.top_p = 1.5F; }},
      {"min_p", [](Request& r) { r.sampling.min_p = 1; }},
      {"top_k", [](Request& r) { r.sampling.top_k = -1; }},
      {"min_tokens_to_keep", [](Request& r) { r.sampling.min_tokens_to_keep = 0; }},
      {"xtc_threshold", [](Request& r) { r.sampling.xtc_threshold = 0.6F; }},
      {"xtc_probability",
       [](Request& r) { r.sampling.xtc_probability = std::numeric_limits<float>::infinity(); }},
      {"logit_bias: token id 5000", [](Request& r) { r.sampling.logit_bias = {{5000, 1.0F}}; }},
      {"logit_bias must be in [-100, 100], not nan (token id 5)",
       [](Request& r) { r.sampling.logit_bias = {{5, std::nanf("")}}; }},
      {"top_logprobs", [](Request& r) { r.top_logprobs = 1U << 20; }},
      {"stop_ids", [](Request& r) { r.stop_ids.assign(1U << 20, 1); }},
      {"stop_ids: token id -7 at index 1", [](Request& r) { r.stop_ids = {1, -7}; }},
      {"repetition_context", [](Request& r) { r.sampling.repetition_context = -1; }},
      {"presence_context", [](Request& r) { r.sampling.presence_context = -1; }},
      {"frequency_context", [](Request& r) { r.sampling.frequency_context = -1; }},
      {"xtc_special_tokens: token id -1 at index 0",
       [](Request& r) { r.sampling.xtc_special_tokens = {-1}; }},
      {"logit_bias: token id -1", [](Request& r) { r.sampling.logit_bias = {{-1, 1.0F}}; }},
  };
  for (const BadRequest& bad : cases) {
    Request request = request_of({1, 2}, 3);
    bad.spoil(request);
    const auto id = engine.add(request);
    ASSERT_FALSE(id.ok()) << bad.expects;
    EXPECT_EQ(id.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(id.error().message, HasSubstr(bad.expects));
  }
  EXPECT_FALSE(engine.busy());
  ASSERT_TRUE(engine.add(request_of({1}, 1)).ok());
  const auto full = engine.add(request_of({1}, 1));
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, ErrorCode::kResourceLimit);
}

}  // namespace
}  // namespace tandem::scheduler
