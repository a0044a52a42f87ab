#pragma once
// What is asked of a server under load. Pure.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace tandem::client {

enum class Endpoint { kCompletions, kChat };
enum class PromptKind {
  kWords,  // text of invented words, which every server takes
  kIds,    // token ids, exact in number: /v1/completions of tandem, llama-server and vLLM
};

/// Every request alike, but each with another prompt, different from its beginning on, so that no
/// server finds a part of it in its prefix cache.
struct Workload {
  Endpoint endpoint = Endpoint::kCompletions;
  PromptKind prompts = PromptKind::kWords;
  std::string model;        // as the server calls it
  int prompt_tokens = 512;  // at least 1
  int max_tokens = 128;     // at least 1
  double temperature = 0;
  /// Sends `ignore_eos`, an extension of vLLM, llama-server and tandem: answers are as long as
  /// max_tokens says. mlx_lm.server ignores it, others may refuse it.
  bool ignore_eos = true;
};

/// The path below the server's base, "/completions".
std::string path_of(Endpoint endpoint);

/// `count` invented words of two to six letters, separated by spaces.
std::string random_words(std::mt19937_64& random, int count);
/// `count` ids of [0, vocabulary).
std::vector<std::int32_t> random_ids(std::mt19937_64& random, int count, std::int32_t vocabulary);

/// The request's JSON, a stream that ends in its usage. `random` draws the prompt of `size` words,
/// or ids of [0, vocabulary).
std::string request_body(const Workload& workload, std::mt19937_64& random, int size,
                         std::int32_t vocabulary);

/// Words that make `wanted` tokens, when `words` of them made `tokens`; at least 1.
int words_for(int wanted, int words, std::uint64_t tokens);

}  // namespace tandem::client
