#pragma once
// What the JSON files beside tokenizer.json say about special tokens. For src/text only.

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::text {

/// The special tokens that tokenizer files name and chat templates may use.
inline constexpr std::array<std::string_view, 7> kTokenNames = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

struct TokenizerFiles {
  /// bos_token, eos_token, unk_token, ... to content. tokenizer_config.json wins over
  /// special_tokens_map.json.
  std::map<std::string, std::string, std::less<>> special_tokens;
  /// eos_token_id of config.json and generation_config.json.
  std::vector<std::int32_t> eos_ids;
};

/// Every file may be absent; a malformed one is an error that names it and the field.
Result<TokenizerFiles> read_tokenizer_files(const std::filesystem::path& folder);

}  // namespace tandem::text
