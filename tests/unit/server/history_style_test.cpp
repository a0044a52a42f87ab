#include "server/serving/history_style.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "server/api/lenient_json.h"
#include "text/chat_template.h"
#include "unit/text/tiny.h"

namespace tandem::server {
namespace {

/// A chat template alone.
class Rendered {
 public:
  explicit Rendered(const std::string& source) {
    folder_.write("tokenizer.json", text::testing::byte_level_tokenizer());
    folder_.write("chat_template.jinja", source);
    auto tokenizer = text::Tokenizer::load(folder_.path());
    auto loaded = text::ChatTemplate::load(folder_.path(), *tokenizer);
    EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
    if (loaded.ok()) template_.emplace(std::move(*loaded));
  }
  Result<std::string> operator()(const std::string& messages) const {
    text::ChatTemplate::Options options;
    options.add_generation_prompt = false;
    options.keep_null_content = true;
    return template_->render(messages, options);
  }
  HistoryStyle style() const {
    return probe_history([this](const std::string& messages) { return (*this)(messages); });
  }

 private:
  text::testing::TempFolder folder_;
  std::optional<text::ChatTemplate> template_;
};

std::string one_call(const std::string& content, const std::string& arguments) {
  const Json call = {{"type", "function"}, {"function", {{"name", "f"}, {"arguments", arguments}}}};
  return Json::array({{{"role", "user"}, {"content", "q"}},
                      {{"role", "assistant"}, {"content", content}, {"tool_calls", {call}}}})
      .dump();
}

std::string rendered(const std::string& source, const std::string& content,
                     const std::string& arguments) {
  const Rendered chat(source);
  auto text = chat(in_style(chat.style(), one_call(content, arguments)));
  return text ? *text : "error: " + text.error().message;
}

TEST(HistoryStyle, ObjectsAreForTemplatesThatWriteThemAsJson) {
  const std::string source =
      "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
      "<{{ c.function.name }} {{ c.function.arguments | tojson }}>{% endfor %}{% endfor %}";
  EXPECT_EQ(rendered(source, "", R"({"a":1})"), R"(q<f {"a": 1}>)");
  EXPECT_EQ(rendered(source, "t", " "), "qt<f {}>");
}

TEST(HistoryStyle, TextIsForTemplatesThatJoinIt) {
  const std::string source =
      "{% for m in messages %}{{ m['content'] }}{% for c in m['tool_calls'] or [] %}"
      "{{ '<' + c['function']['name'] + ' ' + c['function']['arguments'] + '>' }}"
      "{% endfor %}{% endfor %}";
  EXPECT_EQ(rendered(source, "", R"({"a":1})"), R"(q<f {"a":1}>)");
  EXPECT_EQ(rendered(source, "", "null"), "q<f {}>");
}

TEST(HistoryStyle, CallsOfAMessageWithoutContentAreShownAndTextIsAMessageApart) {
  // As DeepSeek V3 and R1 write it.
  const std::string source =
      "{% for m in messages %}"
      "{% if m['role'] == 'assistant' and m['content'] is none %}{% for c in m['tool_calls'] %}"
      "{{ '<' + c['function']['name'] + ' ' + c['function']['arguments'] + '>' }}{% endfor %}"
      "{% elif m['role'] == 'assistant' %}{{ '[' + m['content'] + ']' }}"
      "{% else %}{{ m['content'] }}{% endif %}{% endfor %}";
  const HistoryStyle style = Rendered(source).style();
  EXPECT_TRUE(style.null_content && style.text_arguments && style.calls_apart);
  EXPECT_EQ(rendered(source, "", R"({"a":1})"), R"(q<f {"a":1}>)");
  EXPECT_EQ(rendered(source, "t", R"({"a":1})"), R"(q[t]<f {"a":1}>)");
}

TEST(HistoryStyle, DeepSeeksOwnTemplateShowsItsCalls) {
  std::ifstream file(std::filesystem::path(TANDEM_SOURCE_DIR) /
                     "tests/text_oracle/templates/deepseek_v3.jinja");
  std::stringstream source;
  source << file.rdbuf();
  const std::string text = rendered(source.str(), "", R"({"city": "Oslo"})");
  EXPECT_NE(text.find("function<｜tool▁sep｜>f\n```json\n{\"city\": \"Oslo\"}\n```"),
            std::string::npos)
      << text;
}

TEST(HistoryStyle, ATemplateWithoutCallsTakesTheMessagesAsTheyAre) {
  const Rendered chat("{% for m in messages %}{{ m.content }}{% endfor %}");
  const HistoryStyle style = chat.style();
  EXPECT_FALSE(style.null_content || style.text_arguments || style.calls_apart);
  EXPECT_EQ(in_style(style, R"([{"role":"user","content":"x"}])"),
            R"([{"role":"user","content":"x"}])");
}

TEST(LenientObject, IsWhatAnyJsonReaderTakes) {
  const auto read = [](const std::string& text) {
    const auto object = read_lenient_object(text);
    return object ? object->dump() : "none";
  };
  for (const char* empty : {"", " \n", "null", "{}"}) EXPECT_EQ(read(empty), "{}") << empty;
  EXPECT_EQ(read(R"({"a":1,"b":[2],"a":{"c":3}})"), R"({"a":{"c":3},"b":[2]})");
  EXPECT_EQ(read(R"({"a":"\ud83d\ude00 \ud83d \ude00 \\ud83d"})"),
            "{\"a\":\"\U0001F600 \uFFFD \uFFFD \\\\ud83d\"}");
  for (const char* other : {"{broken", "[1]", "1", "{} x"}) EXPECT_EQ(read(other), "none") << other;
}

}  // namespace
}  // namespace tandem::server
