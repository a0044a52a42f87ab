#include "text/chat_template.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "config/json.h"
#include "config/python_json.h"
#include "text/ffi.h"
#include "text/tokenizer_files.h"

namespace tandem::text {
namespace {

using nlohmann::json;

constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr const char* kJsonFile = "chat_template.json";  // of older transformers' processors
constexpr const char* kTemplateFile = "chat_template.jinja";
constexpr const char* kToolTemplateFile = "additional_chat_templates/tool_use.jinja";
/// Largest template, bytes; the text library's own limit.
constexpr std::size_t kMaxTemplateBytes = 1U << 20;

struct FreeTemplate {
  void operator()(tandem_text_template* chat_template) const {
    tandem_text_template_free(chat_template);
  }
};
using Handle = std::unique_ptr<tandem_text_template, FreeTemplate>;

/// Source and where it stands, for messages.
struct Source {
  std::string text;
  std::string where;
};

/// The templates that the program chooses between, by name: "default" and "tool_use".
using Sources = std::map<std::string, Source>;

Error field_error(const std::string& file, const std::string& rule) {
  return invalid(file + ": chat_template" + rule);
}

/// From a list of {"name", "template"}, as transformers writes several templates.
Status add_named(const json& list, const std::string& file, Sources& sources) {
  for (const json& item : list) {
    const bool valid = item.is_object() && item.contains("name") && item["name"].is_string() &&
                       item.contains("template") && item["template"].is_string();
    if (!valid) {
      return field_error(file,
                         " must be a string or a list of {\"name\", \"template\"} with strings");
    }
    const std::string name = item["name"].get<std::string>();
    if (name != "default" && name != "tool_use") continue;
    sources[name] = {item["template"].get<std::string>(), file + ": chat_template \"" + name + '"'};
  }
  return {};
}

/// From the field of one of the folder's JSON files.
Status add_from_json(const std::filesystem::path& folder, const std::string& file,
                     Sources& sources) {
  const Result<std::string> text = config::read_text_file(folder / file);
  if (!text) {
    if (text.error().code == ErrorCode::kNotFound) return {};
    return text.error();
  }
  const Result<json> parsed = config::parse_python_json(*text, file);
  if (!parsed) return parsed.error();
  if (!parsed->is_object()) return invalid(file + ": must hold a JSON object");
  const auto field = parsed->find("chat_template");
  if (field == parsed->end() || field->is_null()) return {};
  if (field->is_string()) {
    sources["default"] = {field->get<std::string>(), file + ": chat_template"};
    return {};
  }
  if (!field->is_array()) return field_error(file, " must be a string or a list");
  return add_named(*field, file, sources);
}

Status add_from_file(const std::filesystem::path& folder, const char* file, const char* name,
                     Sources& sources) {
  const Result<std::string> text = config::read_text_file(folder / file, kMaxTemplateBytes);
  if (text) {
    sources[name] = {*text, file};
    return {};
  }
  if (text.error().code == ErrorCode::kNotFound) return {};
  return text.error();
}

Result<Handle> compile(const Source& source) {
  tandem_text_template* raw = nullptr;
  FfiBuffer message;
  const tandem_text_status status =
      tandem_text_template_new(view_of(source.text), &raw, message.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, message, source.where + ": ");
  return Handle(raw);
}

std::string special_tokens_json(const Tokenizer& tokenizer) {
  json tokens = json::object();
  for (const std::string_view name : kTokenNames) {
    if (std::optional<std::string> token = tokenizer.special_token(name)) {
      tokens[std::string(name)] = *std::move(token);
    }
  }
  return tokens.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

struct ChatTemplate::Impl {
  std::map<std::string, Handle> templates;
  std::string special_tokens;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

Result<ChatTemplate> ChatTemplate::load(const std::filesystem::path& folder,
                                        const Tokenizer& tokenizer) {
  Sources sources;
  // The later ones win.
  for (const char* file : {kJsonFile, kConfigFile}) {
    if (Status status = add_from_json(folder, file, sources); !status) return status.error();
  }
  for (const auto& [file, name] :
       {std::pair{kTemplateFile, "default"}, std::pair{kToolTemplateFile, "tool_use"}}) {
    if (Status status = add_from_file(folder, file, name, sources); !status) {
      return status.error();
    }
  }
  if (sources.empty()) {
    return Error{ErrorCode::kNotFound, "no chat template: neither " + std::string(kTemplateFile) +
                                           ", " + kJsonFile + " nor chat_template in " +
                                           kConfigFile};
  }
  if (!sources.contains("default")) {
    return field_error(kConfigFile, " has no template named \"default\"");
  }
  auto impl = std::make_unique<Impl>();
  for (const auto& [name, source] : sources) {
    Result<Handle> compiled = compile(source);
    if (!compiled) return compiled.error();
    impl->templates[name] = *std::move(compiled);
  }
  impl->special_tokens = special_tokens_json(tokenizer);
  return ChatTemplate(std::move(impl));
}

Result<std::string> ChatTemplate::render(std::string_view messages_json,
                                         const Options& options) const {
  const auto tool_use = impl_->templates.find("tool_use");
  const bool use_tools = !options.tools_json.empty() && tool_use != impl_->templates.end();
  const Handle& chosen = use_tools ? tool_use->second : impl_->templates.at("default");
  tandem_text_chat chat{};
  chat.messages = view_of(messages_json);
  chat.tools = view_of(options.tools_json);
  chat.documents = view_of(options.documents_json);
  chat.special_tokens = view_of(impl_->special_tokens);
  chat.kwargs = view_of(options.kwargs_json);
  chat.add_generation_prompt = options.add_generation_prompt;
  chat.continue_final_message = options.continue_final_message;
  chat.keep_null_content = options.keep_null_content;
  chat.now = static_cast<std::int64_t>(options.now);
  FfiBuffer text;
  const tandem_text_status status =
      tandem_text_template_render(chosen.get(), &chat, kMaxTextBytes, text.out());
  if (status != TANDEM_TEXT_OK) return ffi_error(status, text, "");
  return text.str();
}

}  // namespace tandem::text
