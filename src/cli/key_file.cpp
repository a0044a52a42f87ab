#include "cli/key_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "cli/limits.h"
#include "config/json.h"

namespace tandem::cli {

Result<std::vector<std::string>> read_key_file(const std::string& file) {
  auto text = config::read_text_file(file, limits::kKeyFileBytesMax);
  if (!text) return text.error();
  std::vector<std::string> keys;
  std::size_t begin = 0;
  while (begin < text->size()) {
    const std::size_t end = std::min(text->find('\n', begin), text->size());
    std::string key = text->substr(begin, end - begin);
    if (key.ends_with('\r')) key.pop_back();
    if (!key.empty()) keys.push_back(std::move(key));
    begin = end + 1;
  }
  if (keys.empty()) return invalid(fmt::format("--api-key-file: {} holds no key", file));
  return keys;
}

}  // namespace tandem::cli
