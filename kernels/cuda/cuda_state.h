// Attention state of the CUDA backend: two tables of pages (device_page.h), one for core tokens,
// one for raw tokens; a page holds all layers. Branches share pages. A step copies the shared ones
// that it writes to, each layer's part when its turn comes: by then an import that is under way has
// brought it.
#ifndef LONGLEAF_KERNELS_CUDA_CUDA_STATE_H_
#define LONGLEAF_KERNELS_CUDA_CUDA_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/device_page.h"
#include "kernels/cuda/page_pool.h"
#include "kernels/import_progress.h"

namespace longleaf::kernels::cuda {

// Threads: as State says. Importers use layout(), import_page() and prepared() beside the owner.
class CudaState : public State {
 public:
  // `pool` outlives the state.
  CudaState(const StateShape& shape, DevicePagePool* pool) : shape_(shape), pool_(pool) {}
  ~CudaState() override;
  CudaState(const CudaState&) = delete;
  CudaState& operator=(const CudaState&) = delete;

  const StateShape& shape() const override { return shape_; }
  int64_t tokens() const override { return tokens_; }
  int64_t cores() const override { return shape_.policy.CoresAfter(tokens_); }
  int64_t first_raw() const override { return first_raw_; }
  int64_t bytes() const override;
  bool LayerReady(int64_t layer) const override {
    return progress_ == nullptr || progress_->LayerReady(layer);
  }

  // Makes this empty state equal to `parent`, sharing its pages.
  void ShareAll(const CudaState& parent);

  // Bytes of the pages that Grow(rows) takes.
  int64_t BytesToGrow(int64_t rows) const;
  // Takes the pages for `rows` more tokens, copies of shared ones included; false when the pool has
  // no more, and then nothing has changed. Opens a step that Commit or Abort ends.
  bool Grow(int64_t rows);
  // Puts the copying of what the step will write to in `layer`, and holds in common with others,
  // into the main stream. Once the layer is ready, before the layer's first kernel; further calls
  // copy nothing. When all layers are ready the first call copies them all.
  absl::Status CopySharedPages(int64_t layer, cudaStream_t stream);
  // After the step's last kernel has been put into the main stream. The backend makes a point
  // (StreamPoints::Mark) when the states of a step have been committed. Device errors are kept by
  // the pool.
  void Commit();
  void Abort();
  // tokens() of the state that this one was branched from, then; 0: of none. The pages before are
  // the same as those of other branches.
  int64_t trunk_tokens() const { return trunk_tokens_; }
  int64_t step_rows() const { return step_rows_; }  // 0: no step is open

  // Takes pages for an import into this empty state; false when the pool has no more.
  bool PrepareImport(int64_t tokens, int64_t first_raw);
  // What PrepareImport began; null when nothing is imported into this very state.
  ImportProgress* import() { return prepared_ == 0 ? nullptr : progress_.get(); }

  // What the step, or without one the state, has: one entry per page from the state's beginning, of
  // those below first_page(part) null.
  int64_t page_count(StatePart part) const {
    return static_cast<int64_t>(tables_[Index(part)].size());
  }
  int64_t first_page(StatePart part) const {
    return part == StatePart::kCore ? 0 : first_raw_ / kPageTokens;
  }
  const DevicePage* page(StatePart part, int64_t index) const {
    const Copy& copy = copies_[Index(part)];
    return copy.page != nullptr && copy.index == index
               ? copy.page
               : tables_[Index(part)][static_cast<size_t>(index)];
  }
  // The same without what the step has not committed: what Export reads.
  const DevicePage* committed_page(StatePart part, int64_t index) const {
    return tables_[Index(part)][static_cast<size_t>(index)];
  }
  // Those that PrepareImport took. Steps do not change this table, so that importers may follow it
  // meanwhile; the pages stay this state's until every layer is ready.
  const DevicePage* import_page(StatePart part, int64_t index) const {
    return import_tables_[Index(part)][static_cast<size_t>(index)];
  }
  // Points of the main stream: behind all that has been committed; behind what used the pages of
  // PrepareImport before.
  int64_t written() const { return written_; }
  int64_t prepared() const { return prepared_; }

  // Of every page of that part.
  DevicePageLayout layout(StatePart part) const {
    return {shape_.dtype, shape_.layers,
            part == StatePart::kCore ? shape_.core_heads() : shape_.kv_heads, shape_.head_dim};
  }

 private:
  using Table = std::vector<DevicePage*>;
  // The shared page that this step writes to, if there is one, and so has to copy: the last with
  // tokens. Until Commit the shared one stays in the table and keeps its reference.
  struct Copy {
    int64_t index = 0;
    DevicePage* page = nullptr;  // the copy; null: none
    std::vector<bool> made;      // [layers]
  };

  static size_t Index(StatePart part) { return part == StatePart::kCore ? 0 : 1; }
  int64_t CountOf(StatePart part) const { return part == StatePart::kCore ? cores() : tokens_; }
  int64_t CountAfter(StatePart part, int64_t rows) const;
  // The last written page, when a step that adds to `part` has to copy it first; -1: none.
  int64_t SharedPartialPage(StatePart part, int64_t after) const;
  bool GrowPart(StatePart part, int64_t after);
  // Copies layers first .. end-1, those that have not been.
  absl::Status Make(StatePart part, int64_t first, int64_t end, cudaStream_t stream);
  void Undo();
  void ReleaseAll();

  const StateShape shape_;
  DevicePagePool* const pool_;
  int64_t tokens_ = 0;
  int64_t first_raw_ = 0;
  int64_t trunk_tokens_ = 0;
  int64_t step_rows_ = 0;
  int64_t written_ = 0;
  int64_t prepared_ = 0;                      // 0: PrepareImport has not been called
  std::array<Table, 2> tables_;               // [part][page]
  std::array<Copy, 2> copies_;                // [part]
  std::shared_ptr<ImportProgress> progress_;  // of this state's or its ancestor's import, or null
  std::array<Table, 2> import_tables_;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_CUDA_STATE_H_
