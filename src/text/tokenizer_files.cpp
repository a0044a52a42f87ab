#include "text/tokenizer_files.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "config/json.h"
#include "config/python_json.h"

namespace tandem::text {
namespace {

using nlohmann::json;

/// Token ids are below this everywhere in the program.
constexpr std::int64_t kMaxTokenId = (std::int64_t{1} << 31) - 1;

/// The object in `folder`/`name`; nullopt when there is no such file.
Result<std::optional<json>> read_object(const std::filesystem::path& folder,
                                        const std::string& name) {
  const Result<std::string> text = config::read_text_file(folder / name);
  if (!text) {
    if (text.error().code == ErrorCode::kNotFound) return std::optional<json>();
    return text.error();
  }
  Result<json> parsed = config::parse_python_json(*text, name);
  if (!parsed) return parsed.error();
  if (!parsed->is_object()) return invalid(name + ": must hold a JSON object");
  return std::optional<json>(*std::move(parsed));
}

/// Adds the named tokens that `file` gives: a string, or an object with the string in "content".
Status add_special_tokens(const json& object, const std::string& file, TokenizerFiles& files) {
  for (const std::string_view name : kTokenNames) {
    const auto field = object.find(name);
    if (field == object.end() || field->is_null()) continue;
    const json* content = &*field;
    if (field->is_object()) {
      const auto inner = field->find("content");
      if (inner != field->end()) content = &*inner;
    }
    if (!content->is_string()) {
      return invalid(file + ": " + std::string(name) +
                     " must be a string or an object with a string \"content\"");
    }
    files.special_tokens.insert_or_assign(std::string(name), content->get<std::string>());
  }
  return {};
}

Status add_eos_id(const json& value, const std::string& file, TokenizerFiles& files) {
  const bool fits = value.is_number_integer() && value.get<std::int64_t>() >= 0 &&
                    value.get<std::int64_t>() <= kMaxTokenId;
  if (!fits) {
    return invalid(file + ": eos_token_id must be a token id or a list of token ids, not " +
                   value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 40));
  }
  files.eos_ids.push_back(value.get<std::int32_t>());
  return {};
}

Status add_eos_ids(const json& object, const std::string& file, TokenizerFiles& files) {
  const auto field = object.find("eos_token_id");
  if (field == object.end() || field->is_null()) return {};
  if (!field->is_array()) return add_eos_id(*field, file, files);
  for (const json& id : *field) {
    if (Status status = add_eos_id(id, file, files); !status) return status;
  }
  return {};
}

}  // namespace

Result<TokenizerFiles> read_tokenizer_files(const std::filesystem::path& folder) {
  TokenizerFiles files;
  for (const std::string name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const Result<std::optional<json>> object = read_object(folder, name);
    if (!object) return object.error();
    if (!object->has_value()) continue;
    if (Status status = add_special_tokens(**object, name, files); !status) return status.error();
  }
  for (const std::string name : {"config.json", "generation_config.json"}) {
    const Result<std::optional<json>> object = read_object(folder, name);
    if (!object) return object.error();
    if (!object->has_value()) continue;
    const json* holder = &**object;
    // A model that sees keeps what is the text model's in text_config.
    const auto inner = holder->find("text_config");
    const bool outer = holder->contains("eos_token_id") && !holder->at("eos_token_id").is_null();
    if (!outer && inner != holder->end() && inner->is_object()) holder = &*inner;
    if (Status status = add_eos_ids(*holder, name, files); !status) return status.error();
  }
  return files;
}

}  // namespace tandem::text
