#include "weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "config/json.h"
#include "config/message.h"

namespace tandem::weights {
namespace {

using nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::string_view kMetadata = "__metadata__";

/// a * b, or nullopt when it does not fit.
std::optional<std::uint64_t> product(std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

/// Unsigned integers only: 4.0, -0 and what exceeds 64 bits are no sizes.
std::optional<std::uint64_t> as_size(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

/// Builds the messages of one header: "FILE: tensor "NAME" RULE".
class HeaderReader {
 public:
  HeaderReader(std::string_view file, std::uint64_t data_begin, std::uint64_t data_bytes)
      : file_(file), data_begin_(data_begin), data_bytes_(data_bytes) {}

  Result<TensorInfo> tensor(const std::string& name, const json& entry) const {
    if (!entry.is_object()) return wrong(name, "must be an object");
    TensorInfo info;
    info.name = name;

    const auto type = entry.find("dtype");
    if (type == entry.end() || !type->is_string()) return wrong(name, "has no dtype");
    const auto dtype = dtype_from_name(type->get_ref<const std::string&>());
    if (!dtype) return wrong(name, "has the unknown dtype " + config::shown(*type));
    info.dtype = *dtype;

    const auto shape = entry.find("shape");
    if (shape == entry.end() || !shape->is_array()) return wrong(name, "has no shape");
    std::optional<std::uint64_t> bits = 8 * size_of(info.dtype);
    std::optional<std::uint64_t> elements = 1;
    for (const json& item : *shape) {
      const auto size = as_size(item);
      if (!size || *size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return wrong(name, "has the shape element " + config::shown(item) +
                               ", which is not an integer in [0, 2^63)");
      }
      info.shape.push_back(static_cast<std::int64_t>(*size));
      if (elements) elements = product(*elements, *size);
    }
    if (elements) bits = product(*elements, *bits);
    if (!elements || !bits) return wrong(name, "has a shape whose size overflows 64 bits");
    return offsets(std::move(info), entry, *bits / 8);
  }

  Error wrong(std::string_view name, std::string_view rule) const {
    return invalid(config::one_line(fmt::format("{}: tensor \"{}\" {}", file_, name, rule)));
  }

 private:
  Result<TensorInfo> offsets(TensorInfo info, const json& entry, std::uint64_t bytes) const {
    const auto pair = entry.find("data_offsets");
    if (pair == entry.end() || !pair->is_array() || pair->size() != 2) {
      return wrong(info.name, "has no pair of data_offsets");
    }
    const auto begin = as_size((*pair)[0]);
    const auto end = as_size((*pair)[1]);
    if (!begin || !end) return wrong(info.name, "has data_offsets that are not unsigned integers");
    if (*end < *begin) return wrong(info.name, "ends before it begins");
    if (*end > data_bytes_) {
      return wrong(info.name,
                   fmt::format("ends at byte {} of the data, which has {}; the file is truncated "
                               "or not what its header says",
                               *end, data_bytes_));
    }
    if (*end - *begin != bytes) {
      return wrong(info.name, fmt::format("has {} bytes of data, its shape and dtype need {}",
                                          *end - *begin, bytes));
    }
    info.begin = data_begin_ + *begin;
    info.end = data_begin_ + *end;
    return info;
  }

  std::string_view file_;
  std::uint64_t data_begin_;
  std::uint64_t data_bytes_;
};

Status read_metadata(const json& object, std::string_view file, SafetensorsHeader& header) {
  if (object.is_null()) return {};
  if (!object.is_object()) return invalid(fmt::format("{}: __metadata__ must be an object", file));
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) {
      return invalid(
          config::one_line(fmt::format("{}: __metadata__ \"{}\" must be a string", file, key)));
    }
    header.metadata.emplace_back(key, value.get<std::string>());
  }
  return {};
}

/// Each tensor begins where the one before it ends, the first at 0, the last ends with the file.
Status check_cover(const std::vector<TensorInfo>& tensors, std::uint64_t begin,
                   std::uint64_t file_size, std::string_view file, const HeaderReader& reader) {
  std::uint64_t expected = begin;
  for (const TensorInfo& info : tensors) {
    if (info.begin < expected) return reader.wrong(info.name, "overlaps another tensor");
    if (info.begin > expected) {
      return reader.wrong(info.name,
                          fmt::format("follows a hole of {} bytes", info.begin - expected));
    }
    expected = info.end;
  }
  if (expected == file_size) return {};
  return invalid(fmt::format("{}: has {} bytes after its last tensor", file, file_size - expected));
}

}  // namespace

Result<std::uint64_t> header_length(std::span<const std::byte> first_8_bytes,
                                    std::uint64_t file_size, std::string_view file) {
  if (first_8_bytes.size() < kLengthBytes || file_size < kLengthBytes) {
    return invalid(fmt::format("{}: is too short for a safetensors file", file));
  }
  std::uint64_t length = 0;  // little-endian
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<std::uint64_t>(first_8_bytes[i]) << (8 * i);
  }
  if (length > kMaxHeaderBytes) {
    return invalid(fmt::format("{}: its header says {} bytes, the limit is {}", file, length,
                               kMaxHeaderBytes));
  }
  if (length > file_size - kLengthBytes) {
    return invalid(fmt::format("{}: its header says {} bytes, the file has {} after the length",
                               file, length, file_size - kLengthBytes));
  }
  return length;
}

Result<SafetensorsHeader> parse_header(std::span<const std::byte> json_bytes,
                                       std::uint64_t file_size, std::string_view file) {
  const std::string_view text(reinterpret_cast<const char*>(json_bytes.data()), json_bytes.size());
  const std::uint64_t data_begin = kLengthBytes + json_bytes.size();
  if (json_bytes.size() > kMaxHeaderBytes || file_size < data_begin) {
    return invalid(fmt::format("{}: is shorter than its header", file));
  }
  if (!text.starts_with('{')) {
    return invalid(fmt::format("{}: its header does not begin with '{{'", file));
  }
  auto parsed = config::parse_json(text, fmt::format("{}: the header", file));
  if (!parsed.ok()) return parsed.error();

  SafetensorsHeader header;
  const HeaderReader reader(file, data_begin, file_size - data_begin);
  for (const auto& [name, entry] : parsed->items()) {
    if (name == kMetadata) {
      if (auto status = read_metadata(entry, file, header); !status.ok()) return status.error();
      continue;
    }
    auto info = reader.tensor(name, entry);
    if (!info.ok()) return info.error();
    header.tensors.push_back(std::move(*info));
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  if (auto status = check_cover(header.tensors, data_begin, file_size, file, reader);
      !status.ok()) {
    return status.error();
  }
  return header;
}

}  // namespace tandem::weights
