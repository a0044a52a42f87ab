// Chat templates and conversations: rendered the same twice, or refused; never a defect of the
// library, never without end. Template, messages, tools and further variables stand in this order
// with zero bytes between them; the first byte holds the options.

#include "text/chat_template.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/fuzz.h"
#include "text/tokenizer.h"
#include "unit/text/tiny.h"

namespace {

using namespace tandem::text;
using tandem::fuzz::require;
using tandem::fuzz::require_refusal;

const testing::TempFolder& folder() {
  static const testing::TempFolder made;
  return made;
}

const Tokenizer& tokenizer() {
  static const Tokenizer made = [] {
    folder().write("tokenizer.json", testing::byte_level_tokenizer());
    folder().write("tokenizer_config.json", {{"eos_token", "<eos>"}, {"bos_token", "<bos>"}});
    return Tokenizer::load(folder().path()).value();
  }();
  return made;
}

void render_twice(const ChatTemplate& loaded, std::string_view messages,
                  const ChatTemplate::Options& options) {
  const auto once = loaded.render(messages, options);
  const auto twice = loaded.render(messages, options);
  require(once.ok() == twice.ok());
  if (!once) return require_refusal(once.error());
  require(*once == *twice && once->size() <= kMaxTextBytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tandem::fuzz::Input input(data, size);
  const std::uint8_t picks = input.byte();
  const std::string source(input.part('\0'));
  const Tokenizer& words = tokenizer();
  folder().write("chat_template.jinja", source);
  const auto loaded = ChatTemplate::load(folder().path(), words);
  if (!loaded) {
    require_refusal(loaded.error());
    return 0;
  }
  const std::string_view messages = input.part('\0');
  ChatTemplate::Options options;
  options.tools_json = input.part('\0');
  options.kwargs_json = input.part('\0');
  options.add_generation_prompt = (picks & 1) != 0;
  options.continue_final_message = (picks & 2) != 0;
  options.now = 1700000000;
  render_twice(*loaded, messages, options);
  render_twice(*loaded, R"([{"role":"user","content":"Hello"}])", {});
  return 0;
}
