#include "weights/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

namespace tandem::weights {
namespace {

/// Alignment of copies: a cache line, enough for every vector load.
constexpr std::size_t kCopyAlignment = 64;
/// Largest single read; macOS refuses 2 GiB.
constexpr std::size_t kReadBytesMax = std::size_t{1} << 30;

std::string reason(int error) { return std::generic_category().message(error); }

Error size_changed(const std::string& name, std::uint64_t from, std::uint64_t to) {
  return invalid(
      fmt::format("{}: changed its size from {} to {} bytes while it was in use", name, from, to));
}

struct Unmap {
  std::size_t bytes = 0;
  void operator()(void* base) const { munmap(base, bytes); }
};

struct AlignedDelete {
  void operator()(void* base) const { ::operator delete(base, std::align_val_t{kCopyAlignment}); }
};

}  // namespace

MappedFile::MappedFile(int fd, const FileIdentity& identity, std::string name)
    : fd_(fd), identity_(identity), name_(std::move(name)) {}

MappedFile::~MappedFile() {
  if (fd_ >= 0) ::close(fd_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      identity_(other.identity_),
      name_(std::move(other.name_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(identity_, other.identity_);
  std::swap(name_, other.name_);
  return *this;
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path, std::string name) {
  // Non-blocking, so that a pipe of that name cannot hold the program up.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;
    const auto code = error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument;
    return Error{code, fmt::format("{}: cannot be opened: {}", name, reason(error))};
  }
  struct stat info{};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return invalid(fmt::format("{}: is not a regular file", name));
  }
  const FileIdentity identity{static_cast<std::uint64_t>(info.st_dev),
                              static_cast<std::uint64_t>(info.st_ino),
                              static_cast<std::uint64_t>(info.st_size)};
  return MappedFile(fd, identity, std::move(name));
}

Result<MappedFile> MappedFile::reopen(const std::filesystem::path& path, std::string name,
                                      const FileIdentity& expected) {
  auto file = open(path, std::move(name));
  if (!file.ok()) return file.error();
  const FileIdentity& now = file->identity_;
  if (now.device != expected.device || now.inode != expected.inode) {
    return invalid(fmt::format("{}: another file took its place while it was in use", file->name_));
  }
  if (now.size != expected.size) return size_changed(file->name_, expected.size, now.size);
  return file;
}

Status MappedFile::check_size() const {
  struct stat info{};
  if (fstat(fd_, &info) == 0 && static_cast<std::uint64_t>(info.st_size) == size()) return {};
  return size_changed(name_, size(), static_cast<std::uint64_t>(info.st_size));
}

Status MappedFile::read(std::uint64_t begin, std::span<std::byte> into) const {
  if (auto status = check_size(); !status.ok()) return status;
  std::size_t done = 0;
  while (done < into.size()) {
    const std::size_t want = std::min(into.size() - done, kReadBytesMax);
    const ssize_t got = pread(fd_, into.data() + done, want, static_cast<off_t>(begin + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return Error{ErrorCode::kInternal, fmt::format("{}: read failed: {}", name_, reason(errno))};
    }
    if (got == 0) return invalid(fmt::format("{}: ended while it was read", name_));
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Result<FileRange> MappedFile::range(std::uint64_t begin, std::uint64_t end,
                                    std::size_t alignment) const {
  if (auto status = check_size(); !status.ok()) return status.error();
  if (begin > end || end > size()) {
    return invalid(fmt::format("{}: bytes [{}, {}) are not in it", name_, begin, end));
  }
  const auto size = static_cast<std::size_t>(end - begin);
  if (size == 0) return FileRange{};
  if (begin % alignment == 0) {
    const std::uint64_t page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    const std::size_t lead = static_cast<std::size_t>(begin % page);
    void* base =
        mmap(nullptr, lead + size, PROT_READ, MAP_PRIVATE, fd_, static_cast<off_t>(begin - lead));
    if (base != MAP_FAILED) {
      std::shared_ptr<const void> keep(base, Unmap{lead + size});
      return FileRange{{static_cast<const std::byte*>(base) + lead, size}, std::move(keep)};
    }
    // Out of mappings (a checkpoint of very many tensors): a copy does as well.
  }
  void* copy = ::operator new(size, std::align_val_t{kCopyAlignment}, std::nothrow);
  if (copy == nullptr) {
    return Error{ErrorCode::kResourceLimit, fmt::format("{}: no memory for {} bytes", name_, size)};
  }
  std::shared_ptr<void> keep(copy, AlignedDelete{});
  if (auto status = read(begin, {static_cast<std::byte*>(copy), size}); !status.ok()) {
    return status.error();
  }
  return FileRange{{static_cast<const std::byte*>(copy), size}, std::move(keep)};
}

}  // namespace tandem::weights
