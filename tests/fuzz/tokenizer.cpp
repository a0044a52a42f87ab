// tokenizer.json: refused with one line, or a tokenizer whose ids are in its vocabulary and whose
// streamed text is the text of all ids.

#include "text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/fuzz.h"
#include "text/grammar.h"
#include "unit/text/tiny.h"

namespace {

using namespace tandem::text;
using tandem::fuzz::require;
using tandem::fuzz::require_refusal;

constexpr std::string_view kTexts[] = {"the theatre", " a\n\n b\t1234", "Gr\u00FC\u00DFe \u4E16",
                                       "\U0001F642<bos><eos>", ""};

void stream(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  StreamDecoder decoder(tokenizer, true);
  for (const std::int32_t id : ids) {
    const auto piece = decoder.push(id);
    if (!piece) return require_refusal(piece.error());
  }
  const auto rest = decoder.finish();
  if (!rest) require_refusal(rest.error());
}

void encode(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.encode(text, special);
    if (!ids) {
      require_refusal(ids.error());
      continue;
    }
    // A post-processor may name ids that the vocabulary does not have.
    for (const std::int32_t id : *ids) require(special || id < tokenizer.vocabulary_size());
    const auto decoded = tokenizer.decode(*ids, true);
    if (!decoded) require_refusal(decoded.error());
    stream(tokenizer, *ids);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const testing::TempFolder folder;
  folder.write("tokenizer.json", std::string(reinterpret_cast<const char*>(data), size));
  const auto tokenizer = Tokenizer::load(folder.path());
  if (!tokenizer) {
    require_refusal(tokenizer.error());
    return 0;
  }
  require(tokenizer->vocabulary_size() > 0);
  for (const std::string_view text : kTexts) encode(*tokenizer, text);
  if (tokenizer->vocabulary_size() > 1 << 12) return 0;
  const auto grammar = GrammarTokenizer::make(*tokenizer, tokenizer->vocabulary_size());
  if (!grammar) require_refusal(grammar.error());
  return 0;
}
