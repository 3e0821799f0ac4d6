// The text to upload: a file, or a pipe of any length. Read in pieces, and again from where a
// broken upload has to go on.
#ifndef LONGLEAF_SERVICE_CLI_UPLOAD_SOURCE_H_
#define LONGLEAF_SERVICE_CLI_UPLOAD_SOURCE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/cli/interrupt.h"

namespace longleaf::service::cli {

// Not thread-safe. Errors name the file and the system's reason.
class UploadSource {
 public:
  // A piece is at most this long, well under gRPC's limit for a message.
  static constexpr size_t kPieceBytes = 512 << 10;
  // Of a pipe, this much is kept for going back. gRPC and the server together hold less than that
  // between what was sent and what is durable.
  static constexpr int64_t kKeptBytes = 32 << 20;

  // "-" is standard input, from its present position if it is a file. `interrupt` outlives the
  // source.
  static absl::StatusOr<std::unique_ptr<UploadSource>> Open(const std::string& path,
                                                            Interrupt* interrupt);
  ~UploadSource();
  UploadSource(const UploadSource&) = delete;
  UploadSource& operator=(const UploadSource&) = delete;

  // Bytes in all; absent for a pipe.
  std::optional<int64_t> total() const { return total_; }
  // The next piece; empty at the end. CANCELLED when interrupted while waiting for a pipe.
  absl::StatusOr<std::string> Read();
  // The next piece begins at `offset`. OUT_OF_RANGE if that part of a pipe is gone or has not come.
  absl::Status Seek(int64_t offset);

 private:
  UploadSource(std::string path, int fd, Interrupt* interrupt);
  absl::StatusOr<std::string> ReadFile();
  absl::StatusOr<std::string> ReadPipe();
  absl::Status SystemError(const char* action) const;

  const std::string path_;
  const int fd_;
  Interrupt* const interrupt_;
  std::optional<int64_t> total_;
  int64_t base_ = 0;    // where the upload begins in a file
  int64_t offset_ = 0;  // of the next piece
  std::string kept_;    // of a pipe: the last bytes read
  int64_t kept_begin_ = 0;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_UPLOAD_SOURCE_H_
