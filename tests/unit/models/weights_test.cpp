// What load_decoder() makes of a folder: whose tensors it takes, and what it refuses.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <random>
#include <string>

#include "unit/models/harness.h"
#include "unit/models/tiny_model.h"

namespace tandem::models::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using Change = std::function<void(TinyModel&)>;

/// The message of loading layers [0, 1) of a changed model; "" when it loads.
std::string message_of(TinyModel model, const Change& change) {
  TempFolder folder("weights");
  change(model);
  model.write(folder.path());
  Machine machine(kernels::Activations::kF32);
  auto decoder = load(folder.path(), {0, 1}, machine.ops);
  return decoder.ok() ? "" : decoder.error().message;
}

TEST(Weights, MissingTensorsAreNamedWhereverTheyBelong) {
  for (const char* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
        "model.layers.2.self_attn.k_proj.weight", "model.layers.0.mlp.switch_mlp.up_proj.weight"}) {
    EXPECT_THAT(message_of(grouped_model(3, 0, true, 1),
                           [&](TinyModel& model) { model.tensors().erase(name); }),
                HasSubstr(name));
  }
  EXPECT_THAT(message_of(latent_model(2, 4, 1),
                         [](TinyModel& model) {
                           model.tensors().erase("model.layers.1.self_attn.kv_b_proj.biases");
                         }),
              HasSubstr("model.layers.1.self_attn.kv_b_proj.biases"));
}

TEST(Weights, WrongShapesNameFolderAndBothShapes) {
  const std::string message = message_of(grouped_model(3, 0, false, 1), [](TinyModel& model) {
    model.add("model.layers.2.mlp.down_proj.weight", {64, 95}, 1);
  });
  EXPECT_THAT(message, AllOf(HasSubstr("tandem-models-weights"),
                             HasSubstr("model.layers.2.mlp.down_proj.weight"),
                             HasSubstr("[64, 96]"), HasSubstr("[64, 95]")));
}

TEST(Weights, LeftoverTensorsAreNamed) {
  EXPECT_THAT(
      message_of(grouped_model(3, 0, false, 1),
                 [](TinyModel& model) { model.add("model.layers.0.self_attn.sinks", {4}, 1); }),
      HasSubstr("tensor model.layers.0.self_attn.sinks does not belong to a qwen3 model"));
  EXPECT_THAT(message_of(grouped_model(3, 0, false, 1),
                         [](TinyModel& model) {
                           model.add("model.layers.0.self_attn.q_proj.bias", {64}, 1);
                         }),
              HasSubstr("q_proj.bias"));
}

TEST(Weights, KnownLeftoversAreSkipped) {
  EXPECT_EQ(message_of(latent_model(2, 0, 1),
                       [](TinyModel& model) {
                         model.add("model.layers.0.self_attn.rotary_emb.inv_freq", {4}, 1);
                         model.add("model.layers.2.eh_proj.weight", {3, 5}, 1);
                       }),
            "");
  EXPECT_EQ(message_of(grouped_model(2, 0, false, 1),
                       [](TinyModel& model) {
                         for (const char* name :
                              {"vision_tower.blocks.0.weight", "model.visual.patch.weight",
                               "multi_modal_projector.linear_1.bias", "model.image_newline"}) {
                           model.add(name, {2}, 1);
                         }
                       }),
            "");
}

TEST(Weights, LayersBeyondTheCountAreRefusedUnlessTheFamilyHasThem) {
  EXPECT_THAT(message_of(grouped_model(3, 0, false, 1),
                         [](TinyModel& model) {
                           model.config()["model_type"] = "llama";
                           model.config()["num_hidden_layers"] = 2;
                           for (const char* norm : {"q_norm", "k_norm"}) {
                             for (const char* layer : {"0", "1", "2"}) {
                               model.tensors().erase(std::string("model.layers.") + layer +
                                                     ".self_attn." + norm + ".weight");
                             }
                           }
                         }),
              AllOf(HasSubstr("tensor model.layers.2."),
                    HasSubstr("does not belong to a llama model of 2 layers")));
  const auto with_head = [](int heads, const char* tensor) {
    return message_of(latent_model(2, 0, 1), [&](TinyModel& model) {
      model.config()["num_nextn_predict_layers"] = heads;
      model.add(tensor, {3, 5}, 1);
    });
  };
  EXPECT_EQ(with_head(2, "model.layers.3.eh_proj.weight"), "");
  EXPECT_THAT(with_head(1, "model.layers.3.eh_proj.weight"), HasSubstr("model.layers.3.eh_proj"));
  EXPECT_THAT(with_head(0, "model.layers.2.eh_proj.weight"), HasSubstr("model.layers.2.eh_proj"));
}

TEST(Weights, ShapesThatWouldOverflowSayNothingAboutBits) {
  // 32 * (2^59 + 8) is 4 bits of 64 columns in 64-bit arithmetic that wraps; config.json says 8.
  EXPECT_THAT(message_of(grouped_model(2, 8, false, 1),
                         [](TinyModel& model) {
                           auto& tensor = model.tensors()["model.layers.1.mlp.up_proj.weight"];
                           tensor.shape = {0, (std::int64_t{1} << 59) + 8};
                           tensor.bytes.clear();
                         }),
              AllOf(HasSubstr("model.layers.1.mlp.up_proj.weight"), HasSubstr("[96, 16]")));
}

TEST(Weights, WrongTypesAreNamed) {
  EXPECT_THAT(message_of(grouped_model(2, 0, false, 1),
                         [](TinyModel& model) {
                           auto& tensor = model.tensors()["model.layers.1.self_attn.o_proj.weight"];
                           tensor.dtype = DType::kI32;
                         }),
              HasSubstr("model.layers.1.self_attn.o_proj.weight must be BF16, F16 or F32"));
  EXPECT_THAT(message_of(grouped_model(2, 4, false, 1),
                         [](TinyModel& model) {
                           model.tensors()["model.layers.1.mlp.up_proj.scales"].dtype = DType::kI32;
                         }),
              HasSubstr("model.layers.1.mlp.up_proj.scales must be BF16, F16 or F32"));
}

TEST(Weights, OverridesMustFitTheTensors) {
  EXPECT_THAT(message_of(grouped_model(2, 4, false, 1),
                         [](TinyModel& model) {
                           model.config()["quantization"]["model.layers.0.mlp.up_proj"] = {
                               {"bits", 8}, {"group_size", 32}};
                         }),
              HasSubstr("model.layers.0.mlp.up_proj.weight"));
}

TEST(Weights, RangesOutsideTheModelAreRefused) {
  TempFolder folder("range");
  grouped_model(2, 0, false, 1).write(folder.path());
  Machine machine(kernels::Activations::kF32);
  for (const LayerRange range : {LayerRange{0, 3}, LayerRange{1, 1}, LayerRange{-1, 1}}) {
    auto decoder = load(folder.path(), range, machine.ops);
    ASSERT_FALSE(decoder.ok());
    EXPECT_THAT(decoder.error().message, HasSubstr("of the model's 2 layers"));
  }
}

TEST(Weights, DamageOutsideTheRangeIsNotRead) {
  // Validation covers names and shapes of the whole model; the bytes of other layers stay unmapped,
  // so a range holds only its own.
  TempFolder folder("own");
  grouped_model(4, 0, false, 1).write(folder.path());
  Machine machine(kernels::Activations::kF32);
  std::uint64_t held = 0;
  for (int i = 0; i < 4; ++i) {
    auto decoder = load(folder.path(), {i, i + 1}, machine.ops);
    ASSERT_TRUE(decoder.ok()) << decoder.error().message;
    EXPECT_EQ((*decoder)->kept().size(), 1U);
    held += (*decoder)->weight_bytes();
  }
  auto whole = load(folder.path(), {0, 4}, machine.ops);
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(held, (*whole)->weight_bytes());
}

/// A value that some field may not expect.
json strange_value(std::mt19937_64& random) {
  switch (random() % 10) {
    case 0:
      return nullptr;
    case 1:
      return static_cast<std::int64_t>(random());
    case 2:
      return static_cast<int>(random() % 9) - 4;
    case 3:
      return static_cast<int>(random() % 200);
    case 4:
      return 1.5e300;
    case 5:
      return "text";
    case 6:
      return json::array({1, "x", nullptr});
    case 7:
      return json::object({{"rope_type", "yarn"}, {"factor", 0.5}});
    case 8:
      return random() % 2 == 0;
    default:
      return std::ldexp(1.0, static_cast<int>(random() % 60));
  }
}

TEST(Weights, AnyConfigLoadsOrIsRefusedWithOneLine) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  Machine machine(kernels::Activations::kF32);
  const char* const extra[] = {"rope_scaling",      "rope_parameters", "sliding_window",
                               "layer_types",       "n_group",         "topk_group",
                               "attention_bias",    "mlp_only_layers", "decoder_sparse_step",
                               "quantization",      "head_dim",        "partial_rotary_factor",
                               "use_sliding_window"};
  for (int round = 0; round < 300; ++round) {
    TempFolder folder("strange");
    TinyModel model =
        round % 2 == 0 ? latent_model(2, 4, seed) : grouped_model(2, 0, round % 4 == 1, seed);
    for (std::uint64_t change = random() % 3 + 1; change > 0; --change) {
      auto field = model.config().begin();
      std::advance(field, static_cast<std::ptrdiff_t>(random() % model.config().size()));
      const std::string name = random() % 3 == 0 ? extra[random() % std::size(extra)] : field.key();
      model.config()[name] = strange_value(random);
    }
    model.write(folder.path());
    auto decoder = load(folder.path(), {0, 1}, machine.ops);
    if (decoder.ok()) continue;
    EXPECT_FALSE(decoder.error().message.empty());
    EXPECT_EQ(decoder.error().message.find('\n'), std::string::npos) << decoder.error().message;
  }
}

}  // namespace
}  // namespace tandem::models::testing
