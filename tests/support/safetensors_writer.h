#pragma once
// Writes small safetensors files and checkpoints for tests.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/dtype.h"

namespace tandem::testing {

/// A tensor to write; `bytes` is its row-major data.
struct FileTensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

inline FileTensor f32_tensor(std::vector<std::int64_t> shape, const std::vector<float>& values) {
  FileTensor tensor{DType::kF32, std::move(shape), std::string(values.size() * 4, '\0')};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

/// A whole file from a header text and its data.
inline std::string pack_safetensors(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(length >> (8 * i)));
  file += header;
  file += data;
  return file;
}

/// The header is padded so that the data begins at a multiple of 8 plus `misalign`.
inline std::string safetensors_file(const std::map<std::string, FileTensor>& tensors,
                                    int misalign = 0) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t begin = data.size();
    data += tensor.bytes;
    header[name] = {{"dtype", dtype_name(tensor.dtype)},
                    {"shape", tensor.shape},
                    {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  while (text.size() % 8 != static_cast<std::size_t>(misalign)) text.push_back(' ');
  return pack_safetensors(text, data);
}

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace tandem::testing
