#pragma once
// The safetensors format, validated as strictly as the reference implementation.
// Source: https://github.com/huggingface/safetensors (format description, tensor.rs).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/dtype.h"
#include "tandem/error.h"

namespace tandem::weights {

/// Largest accepted header, bytes (the reference's limit).
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

/// One tensor of a file. Offsets are absolute bytes in the file.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;                            // by offset
  std::vector<std::pair<std::string, std::string>> metadata;  // __metadata__
};

/// Bytes of the header after the 8-byte length; fails on a length over the limit or the file.
Result<std::uint64_t> header_length(std::span<const std::byte> first_8_bytes,
                                    std::uint64_t file_size, std::string_view file);

/// Parses and validates: unique names, known types, no holes, no overlaps, offsets that fit shape
/// and dtype without overflow, data that ends where the file ends. `file` is for messages.
Result<SafetensorsHeader> parse_header(std::span<const std::byte> json, std::uint64_t file_size,
                                       std::string_view file);

}  // namespace tandem::weights
