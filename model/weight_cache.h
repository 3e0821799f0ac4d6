// A directory of packed weights, so that a second start need not pack them again. Whatever is wrong
// with it, or with a file in it, costs the cache and nothing else.
#ifndef LONGLEAF_MODEL_WEIGHT_CACHE_H_
#define LONGLEAF_MODEL_WEIGHT_CACHE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/packed_weights.h"
#include "model/packed_weights_file.h"

namespace longleaf::model {

struct WeightCacheOptions {
  std::string directory;  // made when something is kept; empty: nothing is looked for or kept
  int64_t keep = 2;       // files in it at most, the one being written among them, >= 1
  int64_t leave_free_bytes = int64_t{1} << 30;  // of the disk, for those who need it more
};

// What became of it at a load, to be told to the operator.
struct WeightCacheReport {
  std::string path;     // of the file; empty when there is no cache
  int64_t bytes = 0;    // of the file
  bool used = false;    // the weights are those of the file
  bool kept = false;    // the file has been written
  absl::Status found;   // why a file that was there was not used
  absl::Status failed;  // why the file was not written
};

// Holds the directory's lock from Begin on, so there is one writer and one unfinished file.
class WeightCacheEntry {
 public:
  ~WeightCacheEntry();
  WeightCacheEntry(const WeightCacheEntry&) = delete;
  WeightCacheEntry& operator=(const WeightCacheEntry&) = delete;

  // See PackedWeightsWriter. After an error nothing more is written, and Finish repeats it.
  void Add(size_t item, absl::Span<const std::byte> bytes);
  absl::Status Finish();

 private:
  friend class WeightCache;
  WeightCacheEntry(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  const std::string path_;
  const int lock_;
  std::unique_ptr<PackedWeightsWriter> writer_;
  absl::Status status_;
};

// Immutable and thread-safe; several, of several processes, may share a directory.
class WeightCache {
 public:
  explicit WeightCache(WeightCacheOptions options) : options_(std::move(options)) {}

  bool on() const { return !options_.directory.empty(); }
  // Where the weights that `head` describes lie, if they do: by layout, config, sources without
  // their checksums, and the name, shape and size of every item.
  std::string PathOf(const PackedWeightsHead& head) const;
  // The weights that `wanted` describes, with every byte verified. A source's SHA-256, where
  // `wanted` names one, must have been verified when they were packed. NOT_FOUND when there are
  // none; FAILED_PRECONDITION when they are for something else; DATA_LOSS when they are damaged; or
  // an error of the system.
  absl::StatusOr<std::shared_ptr<const PackedWeightsFile>> Find(
      const PackedWeightsHead& wanted) const;
  // Begins the file for `head` (after LayOut), in the place of one that is of no use. Removes what
  // others left unfinished, and our files but for the latest used keep - 1. ALREADY_EXISTS when
  // `replace` is false and there is a file now; UNAVAILABLE while another process is writing;
  // RESOURCE_EXHAUSTED when leave_free_bytes would not be left; or an error of the system.
  absl::StatusOr<std::unique_ptr<WeightCacheEntry>> Begin(PackedWeightsHead head,
                                                          bool replace) const;

 private:
  const WeightCacheOptions options_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_WEIGHT_CACHE_H_
