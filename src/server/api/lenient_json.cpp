#include "server/api/lenient_json.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/json.h"

namespace tandem::server {
namespace {

/// The code unit of the escape \uXXXX at `at`; nullopt: there is none.
std::optional<std::uint32_t> unit_at(std::string_view text, std::size_t at) {
  if (text.size() < at + 6 || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
  std::uint32_t unit = 0;
  for (const char c : text.substr(at + 2, 4)) {
    const char small = c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
    const bool digit = small >= '0' && small <= '9';
    if (!digit && (small < 'a' || small > 'f')) return std::nullopt;
    unit = unit * 16 + static_cast<std::uint32_t>(digit ? small - '0' : small - 'a' + 10);
  }
  return unit;
}

bool is_high(std::optional<std::uint32_t> unit) {
  return unit && *unit >= 0xD800 && *unit < 0xDC00;
}
bool is_low(std::optional<std::uint32_t> unit) { return unit && *unit >= 0xDC00 && *unit < 0xE000; }

/// Escapes of half a surrogate pair become \uFFFD, as a decoder of UTF-16 shows them.
std::string with_whole_pairs(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto unit = unit_at(text, i);
    const bool pair = is_high(unit) && is_low(unit_at(text, i + 6));
    if (!pair && (is_high(unit) || is_low(unit))) {
      out += "\\uFFFD";
      i += 6;
      continue;
    }
    // An escaped backslash hides what looks like an escape behind it.
    const std::size_t taken = pair ? 12 : text[i] == '\\' ? 2 : 1;
    out += text.substr(i, taken);
    i += taken;
  }
  return out;
}

/// Builds the document; a key again replaces the value that it had. Linear in the text.
class LastWins : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  Json root;

 private:
  struct Open {
    Json* container;
    std::unordered_map<std::string, std::size_t> places;  // of an object's keys
  };

  Json* place(Json value) {
    if (open_.empty()) return &(root = std::move(value));
    Open& parent = open_.back();
    if (parent.container->is_array()) {
      parent.container->push_back(std::move(value));
      return &parent.container->back();
    }
    using Members = Json::object_t::Container;
    auto& members = static_cast<Members&>(parent.container->get_ref<Json::object_t&>());
    const auto [known, added] = parent.places.try_emplace(key_, members.size());
    if (added) return &members.emplace_back(key_, std::move(value)).second;
    return &(members[known->second].second = std::move(value));
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json container) {
    if (open_.size() >= config::kMaxJsonDepth) return false;
    open_.push_back({place(std::move(container)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<Open> open_;
  std::string key_;
};

}  // namespace

std::optional<Json> read_lenient_object(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return Json::object();
  // The lexer takes a zero byte for the end of the text.
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  LastWins builder;
  if (!Json::sax_parse(with_whole_pairs(text), &builder)) return std::nullopt;
  if (builder.root.is_null()) return Json::object();
  if (!builder.root.is_object()) return std::nullopt;
  return std::move(builder.root);
}

}  // namespace tandem::server
