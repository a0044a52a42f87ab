// Tokens to text, and stop strings in it: the pieces of a stream are whole characters and together
// the text of all tokens; wherever it is cut, a stop string ends it at the same place. The first
// byte picks the tokenizer and the cuts; then the stop strings up to a zero byte; the rest are
// tokens.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/fuzz.h"
#include "server/api/stop_scanner.h"
#include "text/tokenizer.h"
#include "unit/text/tiny.h"

namespace {

using namespace tandem::text;
using tandem::fuzz::require;
using tandem::server::StopScanner;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::size_t kLongRun = 20;  // characters

Tokenizer load(const nlohmann::json& tokenizer) {
  const testing::TempFolder folder;
  folder.write("tokenizer.json", tokenizer);
  return Tokenizer::load(folder.path()).value();
}

bool is_whole(const std::string& text) {
  using nlohmann::json;
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace) ==
         json(text).dump(-1, ' ', false, json::error_handler_t::ignore);
}

std::string without_replacements(std::string text) {
  for (std::size_t at; (at = text.find(kReplacement)) != std::string::npos;) {
    text.erase(at, kReplacement.size());
  }
  return text;
}

std::string stream(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, bool skip,
                   bool fallback) {
  StreamDecoder decoder(tokenizer, skip);
  std::string text;
  for (const std::int32_t id : ids) {
    const auto piece = decoder.push(id);
    require(piece.ok() && is_whole(*piece));
    text += *piece;
  }
  const auto rest = decoder.finish();
  require(rest.ok() && is_whole(*rest));
  text += *rest;
  const auto whole = tokenizer.decode(ids, skip);
  require(whole.ok());
  // Bytes that belong to no character may give another number of U+FFFD. With byte fallback
  // decode() gives them for all of a run of bytes; and a stream does not wait for the end of a long
  // run.
  const bool broken = whole->find(kReplacement) != std::string::npos;
  if (!broken) require(text == *whole);
  std::string run;
  while (run.size() < kLongRun * kReplacement.size()) run += kReplacement;
  if (fallback || whole->find(run) != std::string::npos) return text;
  require(without_replacements(text) == without_replacements(*whole));
  return text;
}

struct Scanned {
  std::string text;
  bool stopped = false;
  bool operator==(const Scanned&) const = default;
};

Scanned scan(const std::vector<std::string>& stops, const std::vector<std::string_view>& pieces) {
  StopScanner scanner(stops);
  Scanned out;
  for (const std::string_view piece : pieces) {
    const StopScanner::Piece passed = scanner.push(piece);
    out.text += passed.text;
    if (passed.stopped) return {out.text, true};
  }
  out.text += scanner.finish();
  return out;
}

/// Up to 16 stop strings, with a newline between them.
std::vector<std::string> read_stops(std::string_view lines) {
  std::vector<std::string> stops;
  while (!lines.empty() && stops.size() < 16) {
    const std::string_view stop = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), stop.size() + 1));
    if (!stop.empty()) stops.emplace_back(stop);
  }
  return stops;
}

void check_stops(const std::vector<std::string>& stops, std::string_view text,
                 std::uint32_t state) {
  const Scanned whole = scan(stops, {text});
  for (const std::uint32_t most : {1U, 5U}) {
    require(scan(stops, tandem::fuzz::pieces(text, state, most)) == whole);
  }
  require(text.starts_with(whole.text) && (whole.stopped || whole.text == text));
  for (const std::string& stop : stops) {
    require(whole.text.find(stop) == std::string::npos);
    require(whole.stopped || text.find(stop) == std::string_view::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tokenizer byte_level = load(testing::byte_level_tokenizer());
  static const Tokenizer byte_fallback = load(testing::byte_fallback_tokenizer());
  tandem::fuzz::Input input(data, size);
  const std::uint8_t picks = input.byte();
  const std::vector<std::string> stops = read_stops(input.part('\0'));
  const bool fallback = picks % 2 == 1;
  std::vector<std::int32_t> ids;
  for (const char byte : input.rest()) {
    // Letters stay letters; the highest bytes are the tokens behind those of single bytes.
    const auto value = static_cast<std::int32_t>(static_cast<std::uint8_t>(byte));
    ids.push_back(value >= 0xF5 ? value + 11 : fallback ? value + 3 : value);
  }
  const Tokenizer& tokenizer = fallback ? byte_fallback : byte_level;
  const std::string text = stream(tokenizer, ids, picks % 4 >= 2, fallback);
  check_stops(stops, text, picks);
  return 0;
}
