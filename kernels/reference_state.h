// The reference backend's attention state: per layer four vectors.
#ifndef LONGLEAF_KERNELS_REFERENCE_STATE_H_
#define LONGLEAF_KERNELS_REFERENCE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/import_progress.h"

namespace longleaf::kernels {

// Keys and values of one layer, oldest first.
struct ReferenceLayer {
  std::vector<float> core_k;  // [cores, core_heads, d]
  std::vector<float> core_v;  // [cores, core_heads, d]
  std::vector<float> raw_k;   // [tokens - first_raw, kv_heads, d], rotated
  std::vector<float> raw_v;   // [tokens - first_raw, kv_heads, d]
};

// An import: what it has brought, and how much that is. Every state that needs it takes a copy of a
// layer when it first uses it.
struct ReferenceImport {
  ReferenceImport(int64_t layer_count, int64_t floats_per_layer)
      : progress(layer_count, floats_per_layer), layers(static_cast<size_t>(layer_count)) {}

  ImportProgress progress;
  std::vector<ReferenceLayer> layers;
};

class ReferenceState : public State {
 public:
  // `state_bytes` is the backend's account, charged with what this state holds.
  ReferenceState(const StateShape& shape, int64_t* state_bytes)
      : layers(static_cast<size_t>(shape.layers)), shape_(shape), account_(state_bytes) {}
  ReferenceState(const ReferenceState&) = delete;
  ReferenceState& operator=(const ReferenceState&) = delete;
  ~ReferenceState() override { Charge(0); }

  const StateShape& shape() const override { return shape_; }
  int64_t tokens() const override { return tokens_; }
  int64_t cores() const override { return shape_.policy.CoresAfter(tokens_); }
  int64_t first_raw() const override { return first_raw_; }
  int64_t bytes() const override { return charged_; }
  bool LayerReady(int64_t layer) const override {
    return import == nullptr || import->progress.LayerReady(layer);
  }

  int64_t core_width() const { return shape_.core_heads() * shape_.head_dim; }
  int64_t raw_width() const { return shape_.kv_heads * shape_.head_dim; }
  // Bytes of that many core and raw tokens in all layers.
  int64_t BytesOf(int64_t core_count, int64_t raw_count) const {
    return shape_.layers * 2 * (core_count * core_width() + raw_count * raw_width()) *
           int64_t{sizeof(float)};
  }
  int64_t BytesToGrow(int64_t rows) const {
    return BytesOf(shape_.policy.CoresAfter(tokens_ + rows) - cores(), rows);
  }
  // Makes `bytes` what the backend's account knows of this state.
  void Charge(int64_t bytes) {
    *account_ += bytes - charged_;
    charged_ = bytes;
  }
  // Sets the committed counts; the vectors are the caller's business.
  void SetCounts(int64_t tokens, int64_t first_raw) {
    tokens_ = tokens;
    first_raw_ = first_raw;
  }
  // Where a layer that is ready lies.
  const ReferenceLayer& Layer(int64_t layer) const {
    return InImport(layer) ? import->layers[static_cast<size_t>(layer)]
                           : layers[static_cast<size_t>(layer)];
  }
  // The same, the state's own.
  ReferenceLayer& OwnLayer(int64_t layer) {
    ReferenceLayer& own = layers[static_cast<size_t>(layer)];
    if (InImport(layer)) {
      own = import->layers[static_cast<size_t>(layer)];
      in_import[static_cast<size_t>(layer)] = false;
    }
    return own;
  }
  bool InImport(int64_t layer) const {
    return import != nullptr && in_import[static_cast<size_t>(layer)];
  }
  // Drops what an unfinished step has appended to a layer. (To an empty one: makes it as long as
  // the counts say.)
  void Truncate(ReferenceLayer& layer) const {
    const size_t core_floats = static_cast<size_t>(cores() * core_width());
    const size_t raw_floats = static_cast<size_t>((tokens_ - first_raw_) * raw_width());
    layer.core_k.resize(core_floats);
    layer.core_v.resize(core_floats);
    layer.raw_k.resize(raw_floats);
    layer.raw_v.resize(raw_floats);
  }

  std::vector<ReferenceLayer> layers;
  int64_t step_rows = 0;  // rows of the step in progress, 0 when there is none
  // This state's or its ancestor's, or null. A layer that is still in_import has no floats here.
  std::shared_ptr<ReferenceImport> import;
  std::vector<bool> in_import;
  bool imports = false;  // `import` is this state's own

 private:
  const StateShape shape_;
  int64_t* const account_;
  int64_t charged_ = 0;
  int64_t tokens_ = 0;
  int64_t first_raw_ = 0;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_REFERENCE_STATE_H_
