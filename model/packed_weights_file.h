// Files of packed weights: mapped and verified, or written piece by piece.
#ifndef LONGLEAF_MODEL_PACKED_WEIGHTS_FILE_H_
#define LONGLEAF_MODEL_PACKED_WEIGHTS_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/packed_weights.h"

namespace longleaf::model {

// One mapped file. Immutable and thread-safe. The file must not be written to or cut while it is
// mapped (our own are replaced and unlinked, which does it no harm).
class PackedWeightsFile {
 public:
  // Maps the file and reads its head. An error of the system (NOT_FOUND when there is no file), or
  // those of PackedWeightsHead::Parse.
  static absl::StatusOr<std::shared_ptr<const PackedWeightsFile>> Open(const std::string& path);
  ~PackedWeightsFile();
  PackedWeightsFile(const PackedWeightsFile&) = delete;
  PackedWeightsFile& operator=(const PackedWeightsFile&) = delete;

  const std::string& path() const { return path_; }
  const PackedWeightsHead& head() const { return head_; }
  // The bytes of head().items[item].
  absl::Span<const std::byte> Bytes(size_t item) const;
  // Reads every byte of every item, with up to `threads` threads (0: one for each processor) and
  // the disk ahead of them. DATA_LOSS names the first item whose checksum is wrong.
  absl::Status Verify(int threads = 0) const;

 private:
  PackedWeightsFile(std::string path, absl::Span<const std::byte> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  const std::string path_;
  const absl::Span<const std::byte> bytes_;
  PackedWeightsHead head_;
};

// Writes one file: under a temporary name until it is whole and on the disk. Not thread-safe.
class PackedWeightsWriter {
 public:
  // Takes room for the file that `head` (after LayOut) describes at `temporary`, which must not
  // exist. An error of the system: RESOURCE_EXHAUSTED when the disk is full.
  static absl::StatusOr<std::unique_ptr<PackedWeightsWriter>> Create(const std::string& temporary,
                                                                     PackedWeightsHead head);
  // Removes what was not finished.
  ~PackedWeightsWriter();
  PackedWeightsWriter(const PackedWeightsWriter&) = delete;
  PackedWeightsWriter& operator=(const PackedWeightsWriter&) = delete;

  // Writes head.items[item]; each once, in any order. INVALID_ARGUMENT for another number of bytes
  // than planned.
  absl::Status Add(size_t item, absl::Span<const std::byte> bytes);
  // Writes the head, waits for the disk, and gives the file the name `path`, replacing what had it.
  // After all items have been added.
  absl::Status Finish(const std::string& path);

 private:
  PackedWeightsWriter(std::string temporary, PackedWeightsHead head, int fd)
      : temporary_(std::move(temporary)), head_(std::move(head)), fd_(fd) {}

  absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes);

  const std::string temporary_;
  PackedWeightsHead head_;
  const int fd_;
  size_t added_ = 0;
  bool finished_ = false;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_PACKED_WEIGHTS_FILE_H_
