#include "server/output/output_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "server/output/markers.h"
#include "support/temp_folder.h"

namespace tandem::server {
namespace {

const std::filesystem::path kRoot = TANDEM_SOURCE_DIR;

std::string file_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in.good()) << file;
  return {std::istreambuf_iterator<char>(in), {}};
}

MarkerToken no_tokens(std::string_view) { return MarkerToken::kNone; }

TEST(OutputFormat, IsFoundInTheTemplatesOfRealModels) {
  const std::map<std::string, std::pair<ToolSyntax, ReasoningSyntax>> expected = {
      {"hermes_tools", {ToolSyntax::kHermes, ReasoningSyntax::kNone}},
      {"qwen2_5", {ToolSyntax::kHermes, ReasoningSyntax::kNone}},
      {"qwen3", {ToolSyntax::kHermes, ReasoningSyntax::kThink}},
      {"llama3", {ToolSyntax::kLlama, ReasoningSyntax::kNone}},
      {"mistral", {ToolSyntax::kMistral, ReasoningSyntax::kNone}},
      {"deepseek_v3", {ToolSyntax::kDeepseek, ReasoningSyntax::kThink}},
      {"deepseek_r1", {ToolSyntax::kNone, ReasoningSyntax::kThink}},
      {"gemma2", {ToolSyntax::kNone, ReasoningSyntax::kNone}},
      {"gemma3", {ToolSyntax::kNone, ReasoningSyntax::kNone}},
      {"phi3", {ToolSyntax::kNone, ReasoningSyntax::kNone}},
      {"chatml", {ToolSyntax::kNone, ReasoningSyntax::kNone}},
      {"harmony", {ToolSyntax::kNone, ReasoningSyntax::kNone}},
  };
  for (const auto& [name, format] : expected) {
    const std::string text = file_text(kRoot / "tests/text_oracle/templates" / (name + ".jinja"));
    const OutputFormat found = find_output_format(text, no_tokens);
    EXPECT_EQ(found.tools, format.first) << name;
    EXPECT_EQ(found.reasoning, format.second) << name;
  }
}

TEST(OutputFormat, IsFoundByWhatNewerTemplatesWrite) {
  const auto tools = [](std::string_view text) {
    return find_output_format(text, no_tokens).tools;
  };
  EXPECT_EQ(tools("{{ '<tool_call>\\n<function=' + f + '>\\n<parameter=' }}"),
            ToolSyntax::kQwenXml);
  EXPECT_EQ(tools("{{ '\\n<tool_call>' + tc.name }}<arg_key>{{ k }}</arg_key>"), ToolSyntax::kGlm);
  EXPECT_EQ(tools("{{ '[TOOL_CALLS]' + f + '[ARGS]' + args }}"), ToolSyntax::kMistralArgs);
  EXPECT_EQ(tools("'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + f + '<｜tool▁sep｜>'"),
            ToolSyntax::kDeepseekV31);
  EXPECT_EQ(tools(""), ToolSyntax::kNone);
}

TEST(OutputFormat, KnowsWhichMarkersAreSpecialTokens) {
  const auto token = [](std::string_view marker) {
    if (marker == "[TOOL_CALLS]" || marker == "[THINK]" || marker == "[/THINK]") {
      return MarkerToken::kSpecial;
    }
    return marker == "[ARGS]" ? MarkerToken::kText : MarkerToken::kNone;
  };
  const OutputFormat found = find_output_format("[TOOL_CALLS] [ARGS]", token);
  EXPECT_EQ(found.reasoning, ReasoningSyntax::kMistralThink);
  EXPECT_THAT(found.special_markers, ::testing::ElementsAre("[TOOL_CALLS]", "[THINK]", "[/THINK]"));
}

TEST(OutputFormat, KeepsTextAndItsOwnSpecialTokensOnly) {
  const auto tokenizer = text::Tokenizer::load(kRoot / "models/tandem-demo");
  ASSERT_TRUE(tokenizer.ok());
  OutputFormat format;
  format.special_markers = {"<|user|>"};
  format.special_ids = {*tokenizer->token_to_id("<|user|>")};
  EXPECT_TRUE(keeps_token(format, *tokenizer, *tokenizer->token_to_id("<|user|>")));
  EXPECT_FALSE(keeps_token(format, *tokenizer, *tokenizer->token_to_id("<|end|>")));
  EXPECT_TRUE(keeps_token(format, *tokenizer, tokenizer->encode("Hello", false)->front()));
  EXPECT_FALSE(keeps_token(format, *tokenizer, tokenizer->vocabulary_size()));
}

TEST(OutputFormat, IsLoadedFromEveryPlaceThatHoldsATemplate) {
  const auto tokenizer = text::Tokenizer::load(kRoot / "models/tandem-demo");
  ASSERT_TRUE(tokenizer.ok());
  const auto write = [](const std::filesystem::path& file, std::string_view text) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
  };
  const char* const files[] = {"chat_template.jinja", "additional_chat_templates/tool_use.jinja"};
  for (const char* file : files) {
    const testing::TempFolder folder;
    write(folder.path() / file, "<tool_call>");
    EXPECT_EQ(load_output_format(folder.path(), *tokenizer)->tools, ToolSyntax::kHermes) << file;
  }
  for (const char* field :
       {R"("<tool_call>")", R"([{"name": "tool_use", "template": "<tool_call>"}])"}) {
    const testing::TempFolder folder;
    write(folder.path() / "tokenizer_config.json",
          std::string("{\"chat_template\": ") + field + "}");
    EXPECT_EQ(load_output_format(folder.path(), *tokenizer)->tools, ToolSyntax::kHermes) << field;
  }
  for (const char* odd : {"[]", "{}", R"({"chat_template": 5})", R"({"chat_template": [1, {}]})"}) {
    const testing::TempFolder folder;
    write(folder.path() / "tokenizer_config.json", odd);
    const auto found = load_output_format(folder.path(), *tokenizer);
    ASSERT_TRUE(found.ok()) << odd;
    EXPECT_EQ(found->tools, ToolSyntax::kNone);
  }
  const testing::TempFolder broken;
  write(broken.path() / "tokenizer_config.json", "{");
  const auto failed = load_output_format(broken.path(), *tokenizer);
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, ::testing::HasSubstr("tokenizer_config.json"));
}

TEST(OutputFormat, SeesWhetherAPromptEndsInsideReasoning) {
  EXPECT_TRUE(prompt_opens_reasoning(ReasoningSyntax::kThink, "<|assistant|>\n<think>\n"));
  EXPECT_TRUE(prompt_opens_reasoning(ReasoningSyntax::kMistralThink, "x[THINK]"));
  EXPECT_FALSE(prompt_opens_reasoning(ReasoningSyntax::kThink, "<think>\n\n</think>\n\n"));
  EXPECT_FALSE(prompt_opens_reasoning(ReasoningSyntax::kThink, "What is <think>? <|assistant|>"));
  EXPECT_FALSE(prompt_opens_reasoning(ReasoningSyntax::kNone, "<think>"));
}

}  // namespace
}  // namespace tandem::server
