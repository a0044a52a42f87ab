// grammar_probe FOLDER: random outputs of grammars, with a model folder's tokenizer. A line of
// stdin is {"kind", "source", "seed", "count"}, its answer on stdout {"error"} or {"texts": [...],
// "compile_ms", "mask_us"}; a text is null when it did not come to an end.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/grammar_walk.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace {

using nlohmann::json;
using namespace tandem::text;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

tandem::Result<Grammar> compile(const GrammarTokenizer& tokenizer, const json& task) {
  const std::string kind = task.at("kind");
  const std::string source = task.at("source");
  if (kind == "regex") return Grammar::regex(tokenizer, source);
  if (kind == "lark") return Grammar::lark(tokenizer, source);
  return Grammar::json_schema(tokenizer, source);
}

json answer(const Tokenizer& tokenizer, const GrammarTokenizer& grammar_tokenizer,
            const json& task) {
  const auto start = Clock::now();
  const auto grammar = compile(grammar_tokenizer, task);
  json result = {{"compile_ms", ms_since(start)}};
  if (!grammar) {
    result["error"] = grammar.error().message;
    return result;
  }
  tandem::testing::GrammarWalker walker(tokenizer, task.at("seed").get<std::uint32_t>());
  result["texts"] = json::array();
  std::size_t tokens = 0;
  const auto walks = Clock::now();
  for (int i = task.at("count"); i > 0; --i) {
    const auto walk = walker.walk(*grammar);
    if (walk.error) {
      result["error"] = walk.error->message;
      return result;
    }
    tokens += walk.tokens.size();
    result["texts"].push_back(walk.ended ? json(walk.text) : json());
  }
  result["mask_us"] = tokens > 0 ? 1000 * ms_since(walks) / static_cast<double>(tokens) : 0;
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto tokenizer = Tokenizer::load(argv[1]);
  if (!tokenizer) return std::cerr << tokenizer.error().message << '\n', 1;
  const auto start = Clock::now();
  const auto grammar_tokenizer = GrammarTokenizer::make(*tokenizer, tokenizer->vocabulary_size());
  if (!grammar_tokenizer) return std::cerr << grammar_tokenizer.error().message << '\n', 1;
  std::cerr << "tokenizer of " << tokenizer->vocabulary_size() << " arranged in " << ms_since(start)
            << " ms\n";
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(*tokenizer, *grammar_tokenizer, json::parse(line))
                     .dump(-1, ' ', true, json::error_handler_t::replace)
              << std::endl;
  }
  return 0;
}
