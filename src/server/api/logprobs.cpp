#include "server/api/logprobs.h"

#include <algorithm>
#include <cmath>

namespace tandem::server {
namespace {

/// What OpenAI writes for a probability of zero; JSON has no infinity.
constexpr double kImpossible = -9999.0;

double finite(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : kImpossible;
}

Json bytes_of(const std::string& text, const std::optional<std::string>& own) {
  // Of a part of a character that nobody knows the bytes of, the text is a stand-in.
  if (!own && text.find("\xEF\xBF\xBD") != std::string::npos) return nullptr;
  Json bytes = Json::array();
  for (const char c : own.value_or(text)) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

Json entry(const std::string& text, float logprob, const std::optional<std::string>& bytes) {
  return {{"token", text}, {"logprob", finite(logprob)}, {"bytes", bytes_of(text, bytes)}};
}

bool continues_character(std::string_view bytes) {
  return !bytes.empty() && (static_cast<unsigned char>(bytes.front()) & 0xC0) == 0x80;
}

Json candidates(const TokenText& token) {
  if (!token.logprob) return nullptr;
  Json out = Json::object();
  // Tokens of equal text (parts of characters) share a key; the likeliest is first and stays.
  for (const auto& [text, logprob, ignored] : token.top) {
    if (!out.contains(text)) out[text] = finite(logprob);
  }
  if (!out.contains(token.text)) out[token.text] = finite(*token.logprob);
  return out;
}

}  // namespace

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

Json chat_logprobs(std::span<const TokenText> tokens) {
  Json content = Json::array();
  for (const TokenText& token : tokens) {
    Json one = entry(token.text, token.logprob.value_or(0), token.bytes);
    Json top = Json::array();
    for (const Candidate& each : token.top) {
      top.push_back(entry(each.text, each.logprob, each.bytes));
    }
    one["top_logprobs"] = std::move(top);
    content.push_back(std::move(one));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json completion_logprobs(std::span<const TokenText> tokens, std::size_t offset, bool top) {
  Json texts = Json::array();
  Json logprobs = Json::array();
  Json tops = top ? Json::array() : Json(nullptr);
  Json offsets = Json::array();
  const std::size_t first = offset;
  for (const TokenText& token : tokens) {
    texts.push_back(token.text);
    logprobs.push_back(token.logprob ? Json(finite(*token.logprob)) : Json(nullptr));
    if (top) tops.push_back(candidates(token));
    const std::string& shown = token.shown ? *token.shown : token.bytes ? *token.bytes : token.text;
    offsets.push_back(offset > first && continues_character(shown) ? offset - 1 : offset);
    offset += characters(shown);
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

}  // namespace tandem::server
