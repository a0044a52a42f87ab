#include "launch/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "config/json.h"
#include "config/message.h"
#include "config/sizes.h"

namespace tandem::launch {
namespace {

// Another launcher's worker is refused, not misread.
constexpr int kProtocol = 1;
constexpr std::string_view kWhere = "the launcher's line";
constexpr std::string_view kReplyWhere = "the worker's line";

bool is_name(std::string_view text) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || digit(c); });
}

Result<nlohmann::json> parse_line(std::string_view line, std::string_view where) {
  auto json = config::parse_json(line, where);
  if (!json) return json.error();
  if (!json->is_object()) return invalid(fmt::format("{}: must be an object", where));
  config::FieldReader reader(*json, std::string(where));
  const int protocol = reader.integer("protocol", 0, std::numeric_limits<int>::max());
  if (auto status = reader.status(); !status) return status.error();
  if (protocol != kProtocol) {
    return invalid(
        fmt::format("{}: speaks launch protocol {}, this tandem {}: update the older one", where,
                    protocol, kProtocol));
  }
  return std::move(*json);
}

}  // namespace

std::string encode(const WorkerSettings& settings) {
  nlohmann::json json = {{"protocol", kProtocol},
                         {"key", settings.key},
                         {"address", settings.address},
                         {"port", settings.port},
                         {"memory", std::to_string(settings.memory)},
                         {"threads", settings.threads},
                         {"folder", settings.folder},
                         {"variables", nlohmann::json::array()}};
  if (settings.gpu) json["gpu"] = *settings.gpu;
  for (const auto& [name, value] : settings.variables) {
    json["variables"].push_back(name + "=" + value);
  }
  return json.dump();
}

std::string encode(const WorkerReply& reply) {
  return nlohmann::json({{"protocol", kProtocol},
                         {"address", reply.address},
                         {"port", reply.port},
                         {"peer", reply.peer}})
      .dump();
}

Result<WorkerSettings> parse_settings(std::string_view line) {
  auto json = parse_line(line, kWhere);
  if (!json) return json.error();
  config::FieldReader reader(*json, std::string(kWhere));
  WorkerSettings settings;
  settings.key = reader.string("key");
  settings.address = reader.string_or("address", "");
  settings.port = static_cast<std::uint16_t>(reader.integer_or("port", 0, 0, 65535));
  const std::string memory = reader.string_or("memory", "0");
  const auto bytes = config::parse_bytes(memory);
  if (!bytes) reader.fail("memory", bytes.error().message);
  if (bytes) settings.memory = *bytes;
  settings.threads = reader.integer_or("threads", 0, 0, config::kMaxThreads);
  settings.folder = reader.string_or("folder", "");
  if (reader.has("gpu")) settings.gpu = reader.boolean_or("gpu", false);
  const auto variables = reader.strings_or_empty("variables");
  if (auto status = reader.status(); !status) return status.error();
  for (const std::string& each : variables) {
    auto variable = parse_variable(each);
    if (!variable)
      return invalid(fmt::format("{}: variables: {}", kWhere, variable.error().message));
    settings.variables.push_back(std::move(*variable));
  }
  return settings;
}

Result<WorkerReply> parse_reply(std::string_view line) {
  auto json = parse_line(line, kReplyWhere);
  if (!json) return json.error();
  config::FieldReader reader(*json, std::string(kReplyWhere));
  WorkerReply reply;
  reply.address = reader.string("address");
  reply.port = static_cast<std::uint16_t>(reader.integer("port", 1, 65535));
  reply.peer = reader.string_or("peer", "");
  if (auto status = reader.status(); !status) return status.error();
  return reply;
}

Result<std::pair<std::string, std::string>> parse_variable(std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  if (equals == std::string_view::npos || !is_name(name)) {
    return invalid(fmt::format("must be NAME=value, with a name of letters, digits and _, not {}",
                               config::shown(std::string(text))));
  }
  if (text.find('\0') != std::string_view::npos) return invalid("a value has a zero byte");
  return std::pair(std::string(name), std::string(text.substr(equals + 1)));
}

}  // namespace tandem::launch
