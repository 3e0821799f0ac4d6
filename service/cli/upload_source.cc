#include "service/cli/upload_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace longleaf::service::cli {
namespace {

// How long a slow pipe is waited for to fill a piece before what there is goes out.
constexpr absl::Duration kGather = absl::Milliseconds(50);

}  // namespace

absl::StatusOr<std::unique_ptr<UploadSource>> UploadSource::Open(const std::string& path,
                                                                 Interrupt* interrupt) {
  const bool standard_input = path == "-";
  const int fd = standard_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::unique_ptr<UploadSource> source(
      new UploadSource(standard_input ? "standard input" : path, fd, interrupt));
  struct stat info = {};
  if (fd < 0 || fstat(fd, &info) != 0) {
    return source->SystemError("cannot open");
  }
  if (S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    return source->SystemError("cannot read");
  }
  if (S_ISREG(info.st_mode)) {
    source->base_ = std::max<int64_t>(lseek(fd, 0, SEEK_CUR), 0);
    source->total_ = std::max<int64_t>(info.st_size - source->base_, 0);
  }
  return source;
}

UploadSource::UploadSource(std::string path, int fd, Interrupt* interrupt)
    : path_(std::move(path)), fd_(fd), interrupt_(interrupt) {}

UploadSource::~UploadSource() {
  if (fd_ > STDIN_FILENO) {
    close(fd_);
  }
}

absl::StatusOr<std::string> UploadSource::Read() {
  return total_.has_value() ? ReadFile() : ReadPipe();
}

absl::StatusOr<std::string> UploadSource::ReadFile() {
  const int64_t want = std::min<int64_t>(kPieceBytes, *total_ - offset_);
  std::string piece(static_cast<size_t>(std::max<int64_t>(want, 0)), '\0');
  size_t have = 0;
  while (have < piece.size()) {
    const ssize_t n = pread(fd_, piece.data() + have, piece.size() - have,
                            base_ + offset_ + static_cast<int64_t>(have));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return SystemError("cannot read");
    }
    if (n == 0) {
      return absl::DataLossError(absl::StrCat(path_, " became shorter while it was uploaded"));
    }
    have += static_cast<size_t>(n);
  }
  offset_ += static_cast<int64_t>(have);
  return piece;
}

absl::StatusOr<std::string> UploadSource::ReadPipe() {
  const int64_t kept_end = kept_begin_ + static_cast<int64_t>(kept_.size());
  std::string piece;
  if (offset_ < kept_end) {
    piece = kept_.substr(static_cast<size_t>(offset_ - kept_begin_), kPieceBytes);
    offset_ += static_cast<int64_t>(piece.size());
    return piece;
  }
  piece.resize(kPieceBytes);
  size_t have = 0;
  while (have < piece.size()) {
    const absl::Status ready =
        interrupt_->WaitForInput(fd_, have == 0 ? absl::InfiniteDuration() : kGather);
    if (absl::IsDeadlineExceeded(ready)) {
      break;
    }
    if (!ready.ok()) {
      return ready;
    }
    const ssize_t n = read(fd_, piece.data() + have, piece.size() - have);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      return SystemError("cannot read");
    }
    if (n == 0) {
      break;
    }
    have += static_cast<size_t>(n);
  }
  piece.resize(have);
  offset_ += static_cast<int64_t>(have);
  kept_ += piece;
  // Cut when twice too long, so that cutting costs little per byte.
  if (static_cast<int64_t>(kept_.size()) > 2 * kKeptBytes) {
    const size_t gone = kept_.size() - static_cast<size_t>(kKeptBytes);
    kept_.erase(0, gone);
    kept_begin_ += static_cast<int64_t>(gone);
  }
  return piece;
}

absl::Status UploadSource::Seek(int64_t offset) {
  const int64_t end = total_.value_or(kept_begin_ + static_cast<int64_t>(kept_.size()));
  if (offset < kept_begin_ || offset > end) {
    return absl::OutOfRangeError(
        absl::StrCat("cannot go on at byte ", offset, " of ", path_,
                     total_.has_value() ? ", which is shorter" : ", which can be read only once"));
  }
  offset_ = offset;
  return absl::OkStatus();
}

absl::Status UploadSource::SystemError(const char* action) const {
  return absl::UnknownError(absl::StrCat(action, " ", path_, ": ", std::strerror(errno)));
}

}  // namespace longleaf::service::cli
