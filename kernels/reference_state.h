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

// Keys, or values, of consecutive tokens and their heads, oldest first: rows of d, rounded.
class ReferenceRows {
 public:
  ReferenceRows(DType type, int64_t d) : type_(type), d_(d) {}

  // Rounds x[count, d] and adds it.
  void Append(const float* x, int64_t count);
  // What row `row` stands for, [d].
  const float* Row(int64_t row) const { return values_.data() + row * d_; }
  int64_t rows() const { return static_cast<int64_t>(scales_.size()); }
  void Resize(int64_t rows);  // new ones are zero
  void EraseFirst(int64_t rows);

  // Canonical bytes of `count` rows, count * StateShape::row_bytes().
  void Export(int64_t first, int64_t count, std::byte* bytes) const;
  void Import(int64_t first, int64_t count, const std::byte* bytes);

 private:
  int64_t element_bytes() const { return d_ * SizeOf(type_); }  // of a row
  std::byte* Elements(int64_t row) { return elements_.data() + row * element_bytes(); }
  void Read(int64_t row);  // values_ from the others

  DType type_;
  int64_t d_;
  std::vector<std::byte> elements_;  // [rows, d]
  std::vector<float> scales_;        // [rows], 1 for types without
  std::vector<float> values_;        // [rows, d]
};

// Keys and values of one layer.
struct ReferenceLayer {
  explicit ReferenceLayer(const StateShape& shape)
      : core_k(shape.dtype, shape.head_dim), core_v(core_k), raw_k(core_k), raw_v(core_k) {}

  ReferenceRows core_k;  // [cores, core_heads, d]
  ReferenceRows core_v;  // [cores, core_heads, d]
  ReferenceRows raw_k;   // [tokens - first_raw, kv_heads, d], rotated
  ReferenceRows raw_v;   // [tokens - first_raw, kv_heads, d]
};

// An import: what it has brought, and how much that is. Every state that needs it takes a copy of a
// layer when it first uses it.
struct ReferenceImport {
  ReferenceImport(const StateShape& shape, int64_t bytes_per_layer)
      : progress(shape.layers, bytes_per_layer),
        layers(static_cast<size_t>(shape.layers), ReferenceLayer(shape)) {}

  ImportProgress progress;
  std::vector<ReferenceLayer> layers;
};

class ReferenceState : public State {
 public:
  // `state_bytes` is the backend's account, charged with what this state holds.
  ReferenceState(const StateShape& shape, int64_t* state_bytes)
      : layers(static_cast<size_t>(shape.layers), ReferenceLayer(shape)),
        shape_(shape),
        account_(state_bytes) {}
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

  // Bytes of that many core and raw tokens in all layers.
  int64_t BytesOf(int64_t core_count, int64_t raw_count) const {
    return shape_.layers * 2 * (core_count * shape_.core_heads() + raw_count * shape_.kv_heads) *
           shape_.row_bytes();
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
    const int64_t core_rows = cores() * shape_.core_heads();
    const int64_t raw_rows = (tokens_ - first_raw_) * shape_.kv_heads;
    layer.core_k.Resize(core_rows);
    layer.core_v.Resize(core_rows);
    layer.raw_k.Resize(raw_rows);
    layer.raw_v.Resize(raw_rows);
  }

  std::vector<ReferenceLayer> layers;
  int64_t step_rows = 0;  // rows of the step in progress, 0 when there is none
  // This state's or its ancestor's, or null. A layer that is still in_import has nothing here.
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
