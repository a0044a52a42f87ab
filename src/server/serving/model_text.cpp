#include "server/serving/model_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <variant>

#include "config/json.h"
#include "config/model_config.h"
#include "config/python_json.h"
#include "text/token_bytes.h"

namespace tandem::server {
namespace {

constexpr double kLeastTopP = 1e-6;
constexpr int kMostTopK = 1 << 30;
constexpr double kMostMinP = 0.999999;
/// Bytes of a token of prose, roughly.
constexpr std::size_t kUsualTokenBytes = 8;
constexpr std::size_t kMarginTokens = 256;

}  // namespace

Result<ModelText> ModelText::load(const std::filesystem::path& folder) {
  auto config = config::ModelConfig::load(folder);
  if (!config) return config.error();
  config::FieldReader reader = config->reader();
  const int vocabulary = reader.integer("vocab_size", 1, std::int64_t{1} << 30);
  if (auto status = reader.status(); !status.ok()) return status.error();
  auto tokenizer = text::Tokenizer::load(folder);
  if (!tokenizer) return tokenizer.error();
  std::optional<text::ChatTemplate> chat_template;
  auto loaded = text::ChatTemplate::load(folder, *tokenizer);
  if (loaded) {
    chat_template = std::move(*loaded);
  } else if (loaded.error().code != ErrorCode::kNotFound) {
    return loaded.error();
  }
  auto format = load_output_format(folder, *tokenizer);
  if (!format) return format.error();
  ModelText model(std::move(*tokenizer), std::move(chat_template), std::move(*format), vocabulary);
  if (model.template_) model.history_ = model.find_history_style();
  for (std::int32_t id = 0; id < model.tokenizer_.vocabulary_size(); ++id) {
    const auto bytes = text::token_bytes(model.tokenizer_, id);
    if (bytes) model.longest_token_ = std::max(model.longest_token_, bytes->size());
  }
  return model;
}

HistoryStyle ModelText::find_history_style() const {
  text::ChatTemplate::Options options;
  options.keep_null_content = true;
  // Some templates show calls only where there are tools.
  options.tools_json =
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":)"
      R"({"type":"object","properties":{}}}}])";
  return probe_history(
      [&](const std::string& messages) { return template_->render(messages, options); });
}

bool ModelText::template_reads(const std::string& variable, const std::string& one,
                               const std::string& other) const {
  const auto with = [&](const std::string& value) {
    ChatPrompt prompt;
    prompt.messages_json = R"([{"role":"user","content":"x"}])";
    prompt.kwargs_json = fmt::format(R"({{"{}":{}}})", variable, value);
    auto text = render(prompt, 0);
    return text ? *text : std::string();
  };
  return with(one) != with(other);
}

bool ModelText::template_takes_tools() const {
  ChatPrompt prompt;
  prompt.messages_json = R"([{"role":"user","content":"x"}])";
  const auto without = render(prompt, 0);
  prompt.tools_json =
      R"([{"type":"function","function":{"name":"f","description":"d","parameters":)"
      R"({"type":"object","properties":{}}}}])";
  const auto with = render(prompt, 0);
  return with.ok() && (!without.ok() || *with != *without);
}

const Result<text::GrammarTokenizer>& ModelText::grammar_tokenizer() const {
  std::call_once(for_grammars_->once, [this] {
    for_grammars_->made.emplace(text::GrammarTokenizer::make(tokenizer_, vocabulary_));
  });
  return *for_grammars_->made;
}

Result<std::string> ModelText::render(const ChatPrompt& prompt, std::time_t now) const {
  if (!template_) {
    return invalid("this model has no chat template; use /v1/completions");
  }
  text::ChatTemplate::Options options;
  options.add_generation_prompt = prompt.add_generation_prompt;
  options.continue_final_message = prompt.continue_final_message;
  options.tools_json = prompt.tools_json;
  options.kwargs_json = prompt.kwargs_json;
  options.now = now;
  options.keep_null_content = true;  // as the style of the history wants it
  return template_->render(in_style(history_, prompt.messages_json), options);
}

Result<std::vector<std::int32_t>> ModelText::encode_rendered(const std::string& text) const {
  return tokenizer_.encode(text, false);
}

Result<std::vector<std::int32_t>> ModelText::encode(const Prompt& prompt) const {
  if (const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt)) return *ids;
  return tokenizer_.encode(std::get<std::string>(prompt), true);
}

std::optional<std::size_t> ModelText::tokens_beyond(std::string_view text,
                                                    std::size_t limit) const {
  // Where the text is cut, tokens may differ from those of the whole: a margin covers them.
  const std::size_t enough = limit + limit / 8 + kMarginTokens;
  for (std::size_t size = kUsualTokenBytes * enough; size < text.size() / 2; size *= 2) {
    std::size_t end = size;
    while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    const auto ids = tokenizer_.encode(text.substr(0, end), false);
    if (ids && ids->size() > enough) return limit;
  }
  return std::nullopt;
}

std::string ModelText::token_text(std::int32_t id) const {
  const auto& anchor = tokenizer_.anchor();
  if (anchor) {
    // Behind a known token: decoders strip the space of a text's first word.
    auto text = tokenizer_.decode(std::array{anchor->id, id}, false);
    if (text && text->starts_with(anchor->text)) return text->substr(anchor->text.size());
  }
  auto text = tokenizer_.decode(std::array{id}, false);
  return text ? std::move(*text) : std::string();
}

TokenText ModelText::token_text(const TokenResult& token) const {
  TokenText out{token_text(token.id), token.logprob, {}, text::token_bytes(tokenizer_, token.id)};
  for (const TokenLogprob& one : token.top) {
    out.top.push_back({token_text(one.id), one.logprob, text::token_bytes(tokenizer_, one.id)});
  }
  return out;
}

void ModelText::align(std::span<TokenText> tokens, std::string_view text) const {
  for (TokenText& token : tokens) {
    const std::string& bytes = token.bytes ? *token.bytes : token.text;
    std::string_view own = bytes;
    if (!text.starts_with(own)) {
      const bool stripped = own.starts_with(' ') && text.starts_with(own.substr(1));
      own = stripped ? own.substr(1) : std::string_view();
      token.shown = own;
    }
    text.remove_prefix(own.size());
  }
}

Result<SamplingParams> recommended_sampling(const std::filesystem::path& folder) {
  constexpr const char* kFile = "generation_config.json";
  SamplingParams params;
  params.temperature = 1;
  auto text = config::read_text_file(folder / kFile);
  if (!text && text.error().code == ErrorCode::kNotFound) return params;
  if (!text) return text.error();
  auto json = config::parse_python_json(*text, kFile);
  if (!json) return json.error();
  config::FieldReader reader(*json, kFile);
  const bool greedy = !reader.boolean_or("do_sample", true);
  params.temperature = greedy ? 0 : static_cast<float>(reader.number_or("temperature", 1, 0, 100));
  // A filter of a value at which it would keep all, or that mlx-lm takes for off, is off.
  const double top_p = reader.number_or("top_p", 1, 0, 1);
  params.top_p = top_p < kLeastTopP ? 1 : static_cast<float>(top_p);
  params.top_k = std::max(0, reader.integer_or("top_k", 0, -1, std::numeric_limits<int>::max()));
  if (params.top_k > kMostTopK) params.top_k = 0;
  const double min_p = reader.number_or("min_p", 0, 0, 1);
  params.min_p = min_p > kMostMinP ? 0 : static_cast<float>(min_p);
  // 1 is Hugging Face's word for none.
  const double penalty = reader.number_or("repetition_penalty", 1, 0, 100);
  params.repetition_penalty = penalty == 1 ? 0 : static_cast<float>(penalty);
  // transformers looks at the whole text.
  if (params.repetition_penalty != 0) params.repetition_context = 0;
  if (auto status = reader.status(); !status.ok()) return status.error();
  return params;
}

}  // namespace tandem::server
