#include "client/workload.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

namespace tandem::client {
namespace {

constexpr std::string_view kConsonants = "bcdfghjklmnpqrstvwxyz";
constexpr std::string_view kVowels = "aeiou";
constexpr int kSyllablesMax = 3;  // of a word

char letter(std::mt19937_64& random, std::string_view letters) {
  std::uniform_int_distribution<std::size_t> pick(0, letters.size() - 1);
  return letters[pick(random)];
}

}  // namespace

std::string path_of(Endpoint endpoint) {
  return endpoint == Endpoint::kChat ? "/chat/completions" : "/completions";
}

std::string random_words(std::mt19937_64& random, int count) {
  std::uniform_int_distribution<int> syllables(1, kSyllablesMax);
  std::string text;
  for (int word = 0; word < count; ++word) {
    if (word > 0) text += ' ';
    for (int left = syllables(random); left > 0; --left) {
      text += letter(random, kConsonants);
      text += letter(random, kVowels);
    }
  }
  return text;
}

std::vector<std::int32_t> random_ids(std::mt19937_64& random, int count, std::int32_t vocabulary) {
  std::uniform_int_distribution<std::int32_t> pick(0, vocabulary - 1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t& id : ids) id = pick(random);
  return ids;
}

std::string request_body(const Workload& workload, std::mt19937_64& random, int size,
                         std::int32_t vocabulary) {
  nlohmann::ordered_json body{{"model", workload.model},
                              {"max_tokens", workload.max_tokens},
                              {"temperature", workload.temperature},
                              {"stream", true},
                              {"stream_options", {{"include_usage", true}}}};
  if (workload.ignore_eos) body["ignore_eos"] = true;
  if (workload.endpoint == Endpoint::kChat) {
    body["messages"] = {{{"role", "user"}, {"content", random_words(random, size)}}};
  } else if (workload.prompts == PromptKind::kIds) {
    body["prompt"] = random_ids(random, size, vocabulary);
  } else {
    body["prompt"] = random_words(random, size);
  }
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

int words_for(int wanted, int words, std::uint64_t tokens) {
  const double per_word = static_cast<double>(tokens) / words;
  if (per_word <= 0) return wanted;
  return std::max(1, static_cast<int>(std::lround(wanted / per_word)));
}

}  // namespace tandem::client
