#pragma once
// Reads the fields of a request's JSON object, with OpenAI's errors.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/api/api_error.h"

namespace tandem::server {

using Json = nlohmann::ordered_json;

/// The first failure is kept and every later read returns nothing, so that a mapping is written
/// straight down and checked once by error(). null counts as absent. Fields that no read asked for
/// are unknown: finish() refuses them. The JSON outlives the reader; readers of nested objects
/// share the error.
class Fields {
 public:
  /// `object`: a JSON object, or else the first error. `path`: "" or e.g. "messages[0]".
  explicit Fields(const Json& object, std::string path = "");

  bool has(std::string_view name);
  /// Reads: nothing when the field is absent, of another type or outside its range.
  std::optional<double> number(std::string_view name, double min, double max);
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max);
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::string> string(std::string_view name);
  /// One of `choices`.
  std::optional<std::string> choice(std::string_view name,
                                    std::initializer_list<std::string_view> choices);
  const Json* array(std::string_view name, std::size_t max);
  const Json* object(std::string_view name);
  /// Any value but null.
  const Json* value(std::string_view name);
  /// A reader of a nested object, named by the path of this one.
  std::optional<Fields> nested(std::string_view name);
  /// A reader of element `index` of the list `name`.
  Fields element(std::string_view name, std::size_t index, const Json& object);

  /// Fails when the field is absent.
  void require(std::string_view name);
  /// Fails when the field is there.
  void refuse(std::string_view name, std::string_view why);
  /// Fields that change nothing here by their own definition.
  void skip(std::initializer_list<std::string_view> names);
  /// Fails when the object has a field that was not asked for.
  void finish();

  void fail(ApiError error);
  void wrong_type(std::string_view name, std::string_view wanted);
  bool failed() const;
  /// The first failure; only after failed().
  const ApiError& error() const;
  /// "stream_options.include_usage"
  std::string path(std::string_view name) const;

 private:
  using Shared = std::optional<ApiError>;
  Fields(const Json& object, std::string path, std::shared_ptr<Shared> shared);

  const Json* object_;
  std::string path_;
  std::shared_ptr<Shared> error_;
  std::set<std::string, std::less<>> asked_;
};

/// "an integer", "a string", "null": a value's kind for messages.
std::string_view kind_of(const Json& value);

}  // namespace tandem::server
