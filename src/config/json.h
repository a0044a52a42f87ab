#pragma once
// Reading fields of JSON objects with one clear error.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/error.h"

namespace tandem::config {

/// Largest JSON file of a model folder that this program parses itself, bytes (the index of a model
/// of a million tensors is smaller). tokenizer.json is the text library's business.
inline constexpr std::size_t kMaxJsonBytes = 64U << 20;
/// Deepest nesting accepted.
inline constexpr int kMaxJsonDepth = 64;

/// A whole file. kNotFound only when there is none of that name (callers take that for an optional
/// file's absence), kInvalidArgument when it cannot be read, kResourceLimit over `max_bytes`.
Result<std::string> read_text_file(const std::filesystem::path& file,
                                   std::size_t max_bytes = kMaxJsonBytes);
/// Strict JSON; duplicate keys, trailing text, invalid UTF-8 and too deep nesting are errors that
/// name `file` and the byte.
Result<nlohmann::json> parse_json(std::string_view text, std::string_view file);
/// The same with members in the order of the text, which chat templates and schemas show to models.
/// Reading a member searches: for objects whose few known fields are asked for.
Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, std::string_view file);

/// Reads the fields of one object. The first failure is kept and every later read returns its
/// fallback, so a mapping is written straight down and checked once by status(). Messages read
/// `config.json: rope_scaling.factor must be a number in [1, 1e6], not "x"`. A JSON null counts as
/// absent. The json must outlive the reader; readers of nested objects share the error.
class FieldReader {
 public:
  /// `file` as it appears in messages.
  FieldReader(const nlohmann::json& object, std::string file);

  bool has(std::string_view name) const;

  /// Required.
  int integer(std::string_view name, std::int64_t min, std::int64_t max);
  double number(std::string_view name, double min, double max);
  bool boolean(std::string_view name);
  std::string string(std::string_view name);

  /// Absent or null: the fallback.
  int integer_or(std::string_view name, int fallback, std::int64_t min, std::int64_t max);
  double number_or(std::string_view name, double fallback, double min, double max);
  bool boolean_or(std::string_view name, bool fallback);
  std::string string_or(std::string_view name, std::string_view fallback);
  std::vector<double> numbers_or_empty(std::string_view name);
  std::vector<std::int64_t> integers_or_empty(std::string_view name);
  std::vector<std::string> strings_or_empty(std::string_view name);
  /// A nested object; nullopt when absent.
  std::optional<FieldReader> object(std::string_view name);

  /// Records a failure of a rule the caller checks itself, naming the field.
  void fail(std::string_view name, std::string_view rule);
  /// The first failure, or success.
  Status status() const;

 private:
  struct Shared;
  FieldReader(const nlohmann::json& object, std::string prefix, std::shared_ptr<Shared> shared);
  const nlohmann::json* object_;
  std::string prefix_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace tandem::config
