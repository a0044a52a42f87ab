#include "config/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "config/message.h"

namespace tandem::config {
namespace {

using nlohmann::json;

/// Longest piece of a user's value that a message shows, bytes.
constexpr std::size_t kShownBytes = 60;
/// Longest message, bytes.
constexpr std::size_t kMessageBytes = 1000;

/// Builds the document and keeps the first error. nlohmann's own parser keeps the last of two equal
/// keys and nests without limit. Linear in the text for ordered objects too, whose own insertion
/// searches.
template <class Json>
class StrictBuilder : public nlohmann::json_sax<Json> {
 public:
  using typename nlohmann::json_sax<Json>::number_integer_t;
  using typename nlohmann::json_sax<Json>::number_unsigned_t;
  using typename nlohmann::json_sax<Json>::number_float_t;
  using typename nlohmann::json_sax<Json>::string_t;
  using typename nlohmann::json_sax<Json>::binary_t;

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return refuse("binary data is not JSON"); }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (!open_.back().keys.insert(name).second) {
      return refuse("the key " + shown(json(name)) + " appears twice");
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&,
                   const nlohmann::detail::exception& why) override {
    // nlohmann: "[json.exception.parse_error.101] parse error at line 1, column 2: what is wrong".
    const std::string_view text = why.what();
    const std::size_t prefix = text.find(": ");
    const std::size_t bracket = text.find("] ");
    const std::size_t begin = prefix != std::string_view::npos    ? prefix + 2
                              : bracket != std::string_view::npos ? bracket + 2
                                                                  : 0;
    error_ = fmt::format("is not JSON at byte {}: {}", byte, text.substr(begin));
    return false;
  }

  Json root;
  const std::string& error() const { return error_; }

 private:
  struct Open {
    Json* container;
    std::unordered_set<std::string> keys;
  };

  Json* place(Json value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json& parent = *open_.back().container;
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    auto& members = parent.template get_ref<typename Json::object_t&>();
    if constexpr (std::is_same_v<Json, nlohmann::ordered_json>) {
      using Members = typename Json::object_t::Container;
      return &static_cast<Members&>(members).emplace_back(key_, std::move(value)).second;
    } else {
      return &members.emplace(key_, std::move(value)).first->second;
    }
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json container) {
    if (open_.size() >= kMaxJsonDepth) {
      return refuse(fmt::format("is nested deeper than {} levels", kMaxJsonDepth));
    }
    open_.push_back({place(std::move(container)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  bool refuse(std::string why) {
    error_ = std::move(why);
    return false;
  }

  std::vector<Open> open_;
  std::string key_;
  std::string error_;
};

template <class Json>
Result<Json> parse(std::string_view text, std::string_view file) {
  // nlohmann's lexer takes a zero byte for the end of the text.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return invalid(one_line(fmt::format("{}: is not JSON at byte {}: a zero byte", file, zero)));
  }
  StrictBuilder<Json> builder;
  if (!Json::sax_parse(text, &builder)) {
    return invalid(one_line(fmt::format("{}: {}", file, builder.error())));
  }
  return std::move(builder.root);
}

}  // namespace

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  return text;
}

std::string one_line(std::string text) {
  if (text.size() > kMessageBytes) {
    std::size_t end = kMessageBytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text.replace(end, std::string::npos, "...");
  }
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

Result<std::string> read_text_file(const std::filesystem::path& file, std::size_t max_bytes) {
  std::error_code code;
  const auto status = std::filesystem::status(file, code);
  if (status.type() == std::filesystem::file_type::not_found) {
    return Error{ErrorCode::kNotFound, fmt::format("{}: no such file", file.string())};
  }
  if (!std::filesystem::status_known(status)) {
    return invalid(fmt::format("{}: cannot be read: {}", file.string(), code.message()));
  }
  if (!std::filesystem::is_regular_file(status)) {
    return invalid(fmt::format("{}: not a regular file", file.string()));
  }
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    const std::string reason = std::generic_category().message(errno != 0 ? errno : EIO);
    return invalid(fmt::format("{}: cannot be read: {}", file.string(), reason));
  }
  // The size is asked of the reads, not of the directory: the file may grow meanwhile.
  std::string text;
  std::vector<char> block(std::size_t{1} << 16);
  while (in) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    const auto got = static_cast<std::size_t>(in.gcount());
    if (text.size() + got > max_bytes) {
      return Error{ErrorCode::kResourceLimit,
                   fmt::format("{}: larger than the limit of {} bytes", file.string(), max_bytes)};
    }
    text.append(block.data(), got);
  }
  if (in.bad()) return Error{ErrorCode::kInternal, fmt::format("{}: read failed", file.string())};
  return text;
}

Result<json> parse_json(std::string_view text, std::string_view file) {
  return parse<json>(text, file);
}

Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, std::string_view file) {
  return parse<nlohmann::ordered_json>(text, file);
}

}  // namespace tandem::config
