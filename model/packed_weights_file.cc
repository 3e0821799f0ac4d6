#include "model/packed_weights_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace longleaf::model {
namespace {

constexpr size_t kPieceBytes = size_t{16} << 20;  // of a read, and of what the disk reads ahead

void ReadAhead(absl::Span<const std::byte> bytes) {
  if (bytes.empty()) return;
  // Items begin on a page. A hint: where it fails, reading takes longer.
  static_cast<void>(::madvise(const_cast<std::byte*>(bytes.data()), bytes.size(), MADV_WILLNEED));
}

// XXH3-64, with the disk one piece ahead.
uint64_t ChecksumOf(absl::Span<const std::byte> bytes, XXH3_state_t* state) {
  XXH3_64bits_reset(state);
  ReadAhead(bytes.subspan(0, kPieceBytes));
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    if (bytes.size() - at > kPieceBytes) ReadAhead(bytes.subspan(at + kPieceBytes, kPieceBytes));
    const absl::Span<const std::byte> piece = bytes.subspan(at, kPieceBytes);
    XXH3_64bits_update(state, piece.data(), piece.size());
  }
  return XXH3_64bits_digest(state);
}

absl::Status ErrnoOf(const char* what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", what, " ", path));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PackedWeightsFile>> PackedWeightsFile::Open(
    const std::string& path) {
  // Without waiting for the other end of a pipe that lies where a file should.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoOf("open", path);
  const absl::Cleanup close = [fd] { ::close(fd); };
  struct stat info = {};
  if (::fstat(fd, &info) != 0) return ErrnoOf("stat", path);
  if (!S_ISREG(info.st_mode) || info.st_size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": empty, or not a plain file"));
  }
  const size_t size = static_cast<size_t>(info.st_size);
  void* const data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return ErrnoOf("map", path);
  std::shared_ptr<PackedWeightsFile> file(
      new PackedWeightsFile(path, {static_cast<const std::byte*>(data), size}));
  absl::StatusOr<PackedWeightsHead> head =
      PackedWeightsHead::Parse(file->bytes_, info.st_size, path);
  if (!head.ok()) return head.status();
  file->head_ = *std::move(head);
  return file;
}

PackedWeightsFile::~PackedWeightsFile() {
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

absl::Span<const std::byte> PackedWeightsFile::Bytes(size_t item) const {
  const PackedItem& place = head_.items[item];
  return bytes_.subspan(static_cast<size_t>(place.offset), static_cast<size_t>(place.bytes));
}

absl::Status PackedWeightsFile::Verify(int threads) const {
  const size_t count = head_.items.size();
  std::atomic<size_t> next{0};
  std::atomic<size_t> wrong{count};  // the first of them
  std::atomic<bool> no_memory{false};
  const auto work = [&] {
    const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                         &XXH3_freeState);
    if (state == nullptr) no_memory = true;
    while (!no_memory && wrong == count) {
      const size_t item = next.fetch_add(1);
      if (item >= count) return;
      if (ChecksumOf(Bytes(item), state.get()) == head_.items[item].checksum) continue;
      size_t first = wrong;
      while (item < first && !wrong.compare_exchange_weak(first, item)) {
      }
    }
  };
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  const size_t helpers = std::min(static_cast<size_t>(std::max(threads, 1)), count) - 1;
  std::vector<std::thread> pool;
  for (size_t i = 0; i < helpers; ++i) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  if (no_memory) return absl::ResourceExhaustedError("no memory for a checksum");
  if (wrong == count) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(path_, " is damaged: the checksum of ", head_.items[wrong].name));
}

absl::StatusOr<std::unique_ptr<PackedWeightsWriter>> PackedWeightsWriter::Create(
    const std::string& temporary, PackedWeightsHead head) {
  // For this user alone: the weights it is made from may be.
  const int fd =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoOf("create", temporary);
  std::unique_ptr<PackedWeightsWriter> writer(
      new PackedWeightsWriter(temporary, std::move(head), fd));
  // A full disk shows now and not in the middle. Not every file system can tell.
  if (::fallocate(fd, 0, 0, writer->head_.file_bytes) != 0 && errno != EOPNOTSUPP &&
      errno != ENOSYS) {
    return ErrnoOf("make room for", temporary);
  }
  return writer;
}

PackedWeightsWriter::~PackedWeightsWriter() {
  ::close(fd_);
  if (!finished_) ::unlink(temporary_.c_str());
}

absl::Status PackedWeightsWriter::Add(size_t item, absl::Span<const std::byte> bytes) {
  if (item >= head_.items.size() || static_cast<int64_t>(bytes.size()) != head_.items[item].bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("packed weights: ", bytes.size(), " bytes for item ", item));
  }
  PackedItem& place = head_.items[item];
  place.checksum = XXH3_64bits(bytes.data(), bytes.size());
  ++added_;
  return Write(place.offset, bytes);
}

absl::Status PackedWeightsWriter::Write(int64_t offset, absl::Span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_, bytes.data(), std::min(bytes.size(), kPieceBytes), offset);
    if (count < 0) {
      if (errno == EINTR) continue;
      return ErrnoOf("write", temporary_);
    }
    offset += count;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

absl::Status PackedWeightsWriter::Finish(const std::string& path) {
  if (added_ != head_.items.size()) {
    return absl::InvalidArgumentError("packed weights: not all items were added");
  }
  const std::string head = head_.Encode();
  absl::Status status = Write(0, {reinterpret_cast<const std::byte*>(head.data()), head.size()});
  if (!status.ok()) return status;
  if (::fdatasync(fd_) != 0) return ErrnoOf("sync", temporary_);
  if (::rename(temporary_.c_str(), path.c_str()) != 0) return ErrnoOf("rename", temporary_);
  finished_ = true;
  // Without it the name could be lost with the power, and with the name only the cache.
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoOf("open", directory);
  const absl::Cleanup close = [fd] { ::close(fd); };
  return ::fsync(fd) == 0 ? absl::OkStatus() : ErrnoOf("sync", directory);
}

}  // namespace longleaf::model
