#pragma once
// Chat templates, rendered byte for byte as transformers' apply_chat_template does.

#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "tandem/error.h"
#include "text/tokenizer.h"

namespace tandem::text {

/// A model's chat template. Immutable; render() may be called from any thread.
class ChatTemplate {
 public:
  /// From chat_template.jinja (and additional_chat_templates/tool_use.jinja), or the chat_template
  /// of tokenizer_config.json or else of chat_template.json: a string, or a list of named ones,
  /// "default" and, with tools, "tool_use" are used. kNotFound when the folder has none.
  static Result<ChatTemplate> load(const std::filesystem::path& folder, const Tokenizer& tokenizer);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  struct Options {
    bool add_generation_prompt = true;
    bool continue_final_message = false;
    bool keep_null_content = false;  // a content of null is none, else not defined
    std::string tools_json;      // empty, or a JSON list
    std::string documents_json;  // empty, or a JSON list
    std::string kwargs_json;     // empty, or a JSON object of further variables
    std::time_t now = 0;         // for strftime_now, local time
  };

  /// messages_json: a JSON list of {"role", "content", ...}. What the template raises comes back as
  /// kInvalidArgument.
  Result<std::string> render(std::string_view messages_json, const Options& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::text
