// Judges safetensors files from standard input for the comparison with the reference library.
// In: any number of [u64 length, little-endian][bytes]. Out: one line each, "ok N" or the error.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "weights/safetensors.h"

namespace {

std::string verdict(std::span<const std::byte> file) {
  const auto prefix = file.subspan(0, std::min<std::size_t>(8, file.size()));
  const auto length = tandem::weights::header_length(prefix, file.size(), "probe");
  if (!length.ok()) return length.error().message;
  const auto header = tandem::weights::parse_header(file.subspan(8, *length), file.size(), "probe");
  if (!header.ok()) return header.error().message;
  return "ok " + std::to_string(header->tensors.size());
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::uint64_t size = 0;
  while (std::cin.read(reinterpret_cast<char*>(&size), sizeof(size))) {
    std::vector<std::byte> file(size);
    if (size != 0 &&
        !std::cin.read(reinterpret_cast<char*>(file.data()), static_cast<std::streamsize>(size))) {
      std::cerr << "safetensors_probe: the input ends inside a file\n";
      return 1;
    }
    std::cout << verdict(file) << '\n';
  }
  return 0;
}
