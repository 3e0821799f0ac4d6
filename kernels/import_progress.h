// How far the import of a state has come, layer by layer. A state and its branches share one, so
// that a branch knows what it may read also after its parent is gone.
//
// Thread-safe: importers count on any thread, the owner of the states asks.
#ifndef LONGLEAF_KERNELS_IMPORT_PROGRESS_H_
#define LONGLEAF_KERNELS_IMPORT_PROGRESS_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace longleaf::kernels {

class ImportProgress {
 public:
  ImportProgress(int64_t layers, int64_t bytes_per_layer) : layers_(static_cast<size_t>(layers)) {
    for (Layer& layer : layers_) {
      layer.unclaimed.store(bytes_per_layer, std::memory_order_relaxed);
      layer.missing.store(bytes_per_layer, std::memory_order_relaxed);
    }
  }

  // Who sees true also sees every byte that was written before its Written().
  bool LayerReady(int64_t layer) const { return Ready(layers_[static_cast<size_t>(layer)]); }
  bool Complete() const { return std::all_of(layers_.begin(), layers_.end(), Ready); }

  // Before `bytes` of a layer are written: false, and nothing is counted, when fewer are left.
  bool Claim(int64_t layer, int64_t bytes) {
    std::atomic<int64_t>& left = layers_[static_cast<size_t>(layer)].unclaimed;
    int64_t now = left.load(std::memory_order_relaxed);
    do {
      if (now < bytes) return false;
    } while (!left.compare_exchange_weak(now, now - bytes, std::memory_order_relaxed));
    return true;
  }
  // After they were written.
  void Written(int64_t layer, int64_t bytes) {
    layers_[static_cast<size_t>(layer)].missing.fetch_sub(bytes, std::memory_order_acq_rel);
  }

 private:
  struct Layer {
    std::atomic<int64_t> unclaimed{0};
    std::atomic<int64_t> missing{0};
  };
  static bool Ready(const Layer& layer) {
    return layer.missing.load(std::memory_order_acquire) == 0;
  }

  std::vector<Layer> layers_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_IMPORT_PROGRESS_H_
