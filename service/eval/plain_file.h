// What the disk does without a store: the yardstick beside which saving and restoring are read.
#ifndef LONGLEAF_SERVICE_EVAL_PLAIN_FILE_H_
#define LONGLEAF_SERVICE_EVAL_PLAIN_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longleaf::service::eval {

struct PlainFileSeconds {
  double write = 0;  // with fdatasync
  double read = 0;   // not from the page cache
};

// Writes a file of `bytes` bytes in `folder` in pieces of 1 MiB, reads it back, removes it.
absl::StatusOr<PlainFileSeconds> MeasurePlainFile(const std::string& folder, int64_t bytes);

// Asks the kernel to forget the cached pages of all files in a folder. They must be synced.
absl::Status DropPageCache(const std::string& folder);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_PLAIN_FILE_H_
