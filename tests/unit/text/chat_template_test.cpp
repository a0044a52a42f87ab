#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "unit/text/tiny.h"

namespace tandem::text {
namespace {

using testing::byte_level_tokenizer;
using ::testing::HasSubstr;
using testing::json;
using testing::TempFolder;

constexpr const char* kHello = R"([{"role": "user", "content": "Hi"}])";

class ChatTemplateTest : public ::testing::Test {
 protected:
  ChatTemplateTest() {
    folder_.write("tokenizer.json", byte_level_tokenizer());
    folder_.write("tokenizer_config.json", json{{"bos_token", "<bos>"}});
  }

  Result<ChatTemplate> load() const {
    const Result<Tokenizer> tokenizer = Tokenizer::load(folder_.path());
    if (!tokenizer) return tokenizer.error();
    return ChatTemplate::load(folder_.path(), *tokenizer);
  }

  Result<std::string> render(const std::string& source, const ChatTemplate::Options& options = {},
                             const std::string& messages = kHello) const {
    folder_.write("chat_template.jinja", source);
    const Result<ChatTemplate> chat_template = load();
    if (!chat_template) return chat_template.error();
    return chat_template->render(messages, options);
  }

  TempFolder folder_;
};

TEST_F(ChatTemplateTest, SeesMessagesTokensAndVariables) {
  ChatTemplate::Options options;
  options.kwargs_json = R"({"mood": {"z": 1, "a": 1.0}})";
  EXPECT_EQ(*render("{{ bos_token }}{{ messages[0].content }} {{ mood }} {{ tools }} "
                    "{{ add_generation_prompt }}",
                    options),
            "<bos>Hi {'z': 1, 'a': 1.0} None True");
}

TEST_F(ChatTemplateTest, FileWinsOverConfig) {
  folder_.write("tokenizer_config.json", json{{"chat_template", "config"}});
  EXPECT_EQ(*load()->render(kHello, {}), "config");
  EXPECT_EQ(*render("file\n"), "file");
}

TEST_F(ChatTemplateTest, AProcessorsFileServesWhereNothingElseDoes) {
  folder_.write("chat_template.json", json{{"chat_template", "processor"}});
  EXPECT_EQ(*load()->render(kHello, {}), "processor");
  folder_.write("tokenizer_config.json", json{{"chat_template", "config"}});
  EXPECT_EQ(*load()->render(kHello, {}), "config");
}

TEST_F(ChatTemplateTest, ToolsChooseTheToolTemplate) {
  folder_.write("tokenizer_config.json", json{{"chat_template",
                                               {{{"name", "default"}, {"template", "plain"}},
                                                {{"name", "tool_use"}, {"template", "tools"}},
                                                {{"name", "rag"}, {"template", "{% broken"}}}}});
  const Result<ChatTemplate> chat_template = load();
  ASSERT_TRUE(chat_template) << chat_template.error().message;
  ChatTemplate::Options options;
  EXPECT_EQ(*chat_template->render(kHello, options), "plain");
  options.tools_json = R"([{"type": "function"}])";
  EXPECT_EQ(*chat_template->render(kHello, options), "tools");
}

TEST_F(ChatTemplateTest, NoTemplateIsNotFound) {
  const Result<ChatTemplate> chat_template = load();
  ASSERT_FALSE(chat_template);
  EXPECT_EQ(chat_template.error().code, ErrorCode::kNotFound);
}

TEST_F(ChatTemplateTest, MalformedTemplatesNameFileAndLine) {
  Result<std::string> text = render("a\n{% if %}");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(text.error().message, HasSubstr("chat_template.jinja"));
  EXPECT_THAT(text.error().message, HasSubstr("line 2"));
  std::filesystem::remove(folder_.path() / "chat_template.jinja");
  for (const json& field : {json(5), json{{{"name", "default"}}}, json{"x"}, json::array(),
                            json{{{"name", "rag"}, {"template", "x"}}}}) {
    folder_.write("tokenizer_config.json", json{{"chat_template", field}});
    const Result<ChatTemplate> chat_template = load();
    ASSERT_FALSE(chat_template) << field;
    EXPECT_THAT(chat_template.error().message, HasSubstr("chat_template")) << field;
  }
}

TEST_F(ChatTemplateTest, WhatATemplateRaisesIsTheMessage) {
  const Result<std::string> text = render("{{ raise_exception('roles must\\nalternate') }}");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(text.error().message, "chat template: roles must alternate");
}

TEST_F(ChatTemplateTest, EndlessWorkIsALimit) {
  for (const char* source :
       {"{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000 }}", "{{ 'a'.rjust(100000000000) }}",
        "{{ '{:.1000000000f}'.format(1.0) }}",
        "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}"}) {
    const Result<std::string> text = render(source);
    ASSERT_FALSE(text) << source;
    EXPECT_EQ(text.error().code, ErrorCode::kResourceLimit) << text.error().message;
  }
}

TEST_F(ChatTemplateTest, NothingCrashes) {
  const std::string nested = "{% set x = [] %}" + [] {
    std::string sets;
    for (int i = 0; i < 20000; ++i) sets += "{% set x = [x] %}";
    return sets;
  }();
  for (const std::string& source :
       {std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
        std::string("{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns ~ '' }}"),
        std::string("{% include '/etc/passwd' %}"), std::string("{{ ''.__class__.__mro__ }}"),
        "{{ " + std::string(50000, '[') + std::string(50000, ']') + " }}",
        "{{ 1" + std::string(400000, '+') + " }}", nested + "{{ x == 1 and x ~ '' }}{{ y.z }}"}) {
    EXPECT_FALSE(render(source)) << source.substr(0, 80);
  }
}

TEST_F(ChatTemplateTest, RequestsThatAreNotWellFormedAreRefused) {
  const std::string deep = std::string(2000, '[') + std::string(2000, ']');
  for (const std::string& messages :
       {std::string(), std::string("{"), std::string("{}"), std::string("[]"), std::string("[1]"),
        deep, std::string("[{\"role\": \"\\ud800\"}]"), std::string("[{\"role\": \"\xFF\"}]")}) {
    const Result<std::string> text = render("x", {}, messages);
    ASSERT_FALSE(text) << messages.substr(0, 40);
    EXPECT_EQ(text.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(text.error().message, HasSubstr("messages"));
  }
  ChatTemplate::Options options;
  options.tools_json = "{}";
  EXPECT_THAT(render("x", options).error().message, HasSubstr("tools"));
  options = {};
  options.kwargs_json = R"({"messages": 1})";
  EXPECT_THAT(render("x", options).error().message, HasSubstr("messages"));
}

TEST_F(ChatTemplateTest, ContinuesTheFinalMessage) {
  const std::string source = "{% for m in messages %}<{{ m.content }}>\n{% endfor %}";
  const std::string messages =
      R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Once "}])";
  ChatTemplate::Options options;
  options.continue_final_message = true;
  EXPECT_FALSE(render(source, options, messages));  // excludes add_generation_prompt
  options.add_generation_prompt = false;
  EXPECT_EQ(*render(source, options, messages), "<Hi>\n<Once ");
  EXPECT_FALSE(render("{{ messages[0].content }}", options, messages));
}

TEST_F(ChatTemplateTest, TimeIsTheCallers) {
  ChatTemplate::Options options;
  options.now = 1712345678;  // 2024, everywhere
  EXPECT_EQ(*render("{{ strftime_now('in %Y') }}", options), "in 2024");
}

}  // namespace
}  // namespace tandem::text
