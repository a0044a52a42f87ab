// Schemas, patterns and Lark grammars: compiled or refused with one line, and what is compiled can
// be followed. The first byte picks the kind.

#include "text/grammar.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz/fuzz.h"
#include "text/tokenizer.h"
#include "unit/text/tiny.h"

namespace {

using namespace tandem::text;
using tandem::fuzz::require;

GrammarTokenizer tiny_tokenizer() {
  testing::TempFolder folder;
  folder.write("tokenizer.json", testing::byte_level_tokenizer());
  folder.write("tokenizer_config.json", {{"eos_token", "<eos>"}});
  return GrammarTokenizer::make(Tokenizer::load(folder.path()).value(), 261).value();
}

tandem::Result<Grammar> compile(const GrammarTokenizer& tokenizer, char kind,
                                std::string_view source) {
  if (kind == 'r') return Grammar::regex(tokenizer, source);
  if (kind == 'l') return Grammar::lark(tokenizer, source);
  return Grammar::json_schema(tokenizer, source);
}

/// Follows an output of up to 32 tokens, each picked by a byte of the input.
void follow(const Grammar& grammar, std::string_view picks) {
  auto matcher = GrammarMatcher::start(grammar).value();
  for (std::size_t i = 0; i < 32 && !matcher.complete(); ++i) {
    const auto mask = matcher.allowed();
    if (!mask) return;
    std::optional<std::int32_t> chosen;
    std::size_t skip = picks.empty() ? 0 : static_cast<std::uint8_t>(picks[i % picks.size()]) % 64;
    for (std::size_t id = 0; id < 261 && (!chosen || skip > 0); ++id) {
      if ((((*mask)[id / 32] >> (id % 32)) & 1) == 0) continue;
      if (chosen) --skip;
      chosen = static_cast<std::int32_t>(id);
    }
    require(chosen.has_value());
    if (!matcher.accept(*chosen)) return;  // a limit
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const GrammarTokenizer tokenizer = tiny_tokenizer();
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto grammar = compile(tokenizer, text.front(), text.substr(1));
  if (grammar) {
    follow(*grammar, text);
  } else {
    require(grammar.error().code == tandem::ErrorCode::kInvalidArgument);
    tandem::fuzz::require_refusal(grammar.error());
  }
  return 0;
}
