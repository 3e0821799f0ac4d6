#include "service/eval/plain_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "service/eval/random_weights.h"

namespace longleaf::service::eval {
namespace {

constexpr int64_t kPiece = 1 << 20;

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

absl::Status FileError(const std::string& path) { return absl::ErrnoToStatus(errno, path); }

absl::Status DropFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return FileError(path);
  const int error = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
  return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, path);
}

absl::StatusOr<double> Write(const std::string& path, int64_t bytes,
                             const std::vector<std::byte>& piece) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return FileError(path);
  const absl::Cleanup closer = [file] { close(file); };
  const Clock::time_point begin = Clock::now();
  for (int64_t at = 0; at < bytes;) {
    const ssize_t done =
        write(file, piece.data(), static_cast<size_t>(std::min(kPiece, bytes - at)));
    if (done < 0) return FileError(path);
    at += done;
  }
  if (fdatasync(file) != 0) return FileError(path);
  return SecondsSince(begin);
}

absl::StatusOr<double> Read(const std::string& path, std::vector<std::byte>& piece) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return FileError(path);
  const absl::Cleanup closer = [file] { close(file); };
  const Clock::time_point begin = Clock::now();
  ssize_t done = 0;
  while ((done = read(file, piece.data(), piece.size())) > 0) {
  }
  if (done < 0) return FileError(path);
  return SecondsSince(begin);
}

}  // namespace

absl::StatusOr<PlainFileSeconds> MeasurePlainFile(const std::string& folder, int64_t bytes) {
  const std::string path = absl::StrCat(folder, "/plain-file");
  const absl::Cleanup remover = [&path] { unlink(path.c_str()); };
  std::vector<std::byte> piece(kPiece);
  RandomWeights().Fill(1, "F32", 1, absl::MakeSpan(piece));
  auto write_seconds = Write(path, bytes, piece);
  if (!write_seconds.ok()) return write_seconds.status();
  if (absl::Status status = DropFile(path); !status.ok()) return status;
  auto read_seconds = Read(path, piece);
  if (!read_seconds.ok()) return read_seconds.status();
  return PlainFileSeconds{*write_seconds, *read_seconds};
}

absl::Status DropPageCache(const std::string& folder) {
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::end(entry); entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    if (absl::Status status = DropFile(entry->path().string()); !status.ok()) return status;
  }
  return error ? absl::UnavailableError(absl::StrCat(folder, ": ", error.message()))
               : absl::OkStatus();
}

}  // namespace longleaf::service::eval
