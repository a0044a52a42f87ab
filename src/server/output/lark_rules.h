#pragma once
// Rules of a grammar in llguidance's Lark syntax (docs/syntax.md there).

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/output_format.h"
#include "server/output/output_parser.h"
#include "tandem/error.h"

namespace tandem::server {

class LarkRules {
 public:
  explicit LarkRules(const OutputFormat& format) : format_(format) {}

  /// An expression for exactly this text.
  static std::string literal(std::string_view text);
  /// An expression for a marker: its token where it is a special one.
  std::string marker(std::string_view text) const;
  bool is_special(std::string_view marker) const;
  /// Adds a rule; returns its name.
  std::string add(std::string_view body, std::string_view options = "");
  /// An expression for any text up to and with `end`, a marker or other text.
  std::string text_through(std::string_view end);
  /// An expression for a JSON value of this schema.
  Result<std::string> json(const nlohmann::ordered_json& schema);

  /// The grammar with this start expression.
  std::string text(std::string_view start) const;

 private:
  const OutputFormat& format_;
  std::string rules_;
  int count_ = 0;
};

/// A function's parameters as the schema of one object; nullopt: it takes none. Fails when they are
/// no object's schema.
Result<std::optional<nlohmann::ordered_json>> object_schema(const ToolSpec& tool);

/// An expression for the arguments as GLM or Qwen3-Coder write them, one after another in the order
/// of the schema.
Result<std::string> tagged_arguments(LarkRules& rules, ToolSyntax syntax, const ToolSpec& tool);

}  // namespace tandem::server
