// A model directory: checked, and its weights brought onto a backend, from the cache of packed
// weights where that holds what this very directory would give.
#ifndef LONGLEAF_MODEL_CHECKPOINT_H_
#define LONGLEAF_MODEL_CHECKPOINT_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "model/config.h"
#include "model/packed_weights.h"
#include "model/safetensors.h"
#include "model/weight_cache.h"
#include "model/weights.h"

namespace longleaf::model {

// For one thread.
class Checkpoint {
 public:
  // Reads SHA256SUMS, config.json and the heads of the weight files in `directory`, and every file
  // that SHA256SUMS names, but for those that were as it says when the weights in the cache were
  // packed and have not changed since (FileIdentity). NOT_FOUND or INVALID_ARGUMENT naming file and
  // key; DATA_LOSS for a file that is not as SHA256SUMS says, whatever else is wrong with it.
  static absl::StatusOr<Checkpoint> Open(const std::string& directory, kernels::Backend* backend,
                                         kernels::WeightFormat format,
                                         const WeightCacheOptions& cache = {});

  const Config& config() const { return *config_; }

  // Once. The weights in the cache, or those of LoadWeights, which are then kept in the cache.
  // Trouble with the cache is in the result's report and never an error. Errors as LoadWeights.
  absl::StatusOr<Weights> LoadWeights();

 private:
  Checkpoint(std::string directory, kernels::Backend* backend, kernels::WeightFormat format,
             const WeightCacheOptions& cache)
      : directory_(std::move(directory)), backend_(backend), format_(format), cache_(cache) {}

  void LookInCache();
  absl::StatusOr<Weights> Adopt();
  absl::StatusOr<Weights> Pack();
  absl::StatusOr<std::unique_ptr<WeightCacheEntry>> BeginEntry();
  absl::Status CheckUnchanged() const;
  bool AllFilesNamed() const;

  std::string directory_;
  kernels::Backend* backend_;
  kernels::WeightFormat format_;
  WeightCache cache_;
  std::optional<Config> config_;
  std::optional<WeightFiles> files_;
  std::map<std::string, std::string> sums_;  // of SHA256SUMS
  PackedWeightsHead wanted_;                 // what the cache is asked for; without items: nothing
  std::shared_ptr<const PackedWeightsFile> packed_;  // what it gave
  WeightCacheReport report_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_CHECKPOINT_H_
