#pragma once
// One open file whose byte ranges are mapped or copied.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "tandem/error.h"

namespace tandem::weights {

/// Bytes and what keeps them.
struct FileRange {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keep;
};

/// Which file it is, and how long.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;  // bytes
};

/// A regular file, open for reading. Ranges outlive it. Every call checks that the file still has
/// the size it was opened with.
class MappedFile {
 public:
  /// `name` is for messages.
  static Result<MappedFile> open(const std::filesystem::path& path, std::string name);
  /// The same file once more; another one of that path, or another size, is an error.
  static Result<MappedFile> reopen(const std::filesystem::path& path, std::string name,
                                   const FileIdentity& expected);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const FileIdentity& identity() const { return identity_; }
  std::uint64_t size() const { return identity_.size; }
  const std::string& name() const { return name_; }

  /// Bytes [begin, begin + into.size()) read into `into`.
  Status read(std::uint64_t begin, std::span<std::byte> into) const;
  /// Bytes [begin, end), at an address that is a multiple of `alignment` (a power of two up to 64):
  /// mapped where the file's layout allows, else a copy.
  Result<FileRange> range(std::uint64_t begin, std::uint64_t end, std::size_t alignment) const;

 private:
  MappedFile(int fd, const FileIdentity& identity, std::string name);
  Status check_size() const;
  int fd_ = -1;
  FileIdentity identity_;
  std::string name_;
};

}  // namespace tandem::weights
