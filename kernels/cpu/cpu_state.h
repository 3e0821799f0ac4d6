// Attention state of the CPU backend: per layer two tables of pages (page.h), one for core tokens,
// one for raw tokens. Branches share pages; a step copies the shared ones that it writes to, each
// layer's when its turn comes: by then an import that is under way has brought them.
#ifndef LONGLEAF_KERNELS_CPU_CPU_STATE_H_
#define LONGLEAF_KERNELS_CPU_CPU_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/page.h"
#include "kernels/cpu/page_pool.h"
#include "kernels/import_progress.h"

namespace longleaf::kernels {

class CpuState : public State {
 public:
  // `pool` outlives the state.
  CpuState(const StateShape& shape, PagePool* pool);
  ~CpuState() override;
  CpuState(const CpuState&) = delete;
  CpuState& operator=(const CpuState&) = delete;

  const StateShape& shape() const override { return shape_; }
  int64_t tokens() const override { return tokens_; }
  int64_t cores() const override { return shape_.policy.CoresAfter(tokens_); }
  int64_t first_raw() const override { return first_raw_; }
  int64_t bytes() const override;
  bool LayerReady(int64_t layer) const override {
    return progress_ == nullptr || progress_->LayerReady(layer);
  }

  // Makes this empty state equal to `parent`, sharing its pages.
  void ShareAll(const CpuState& parent);

  // Bytes of the pages that Grow(rows) takes.
  int64_t BytesToGrow(int64_t rows) const;
  // Takes the pages for `rows` more tokens, copies of shared ones included; false when the pool has
  // no more, and then nothing has changed. Opens a step that Commit or Abort ends.
  bool Grow(int64_t rows);
  // Whether the step has to copy pages of `layer` before it writes to them, and doing so: once the
  // layer is ready; different states of a step on different threads.
  bool HasSharedPages(int64_t layer) const;
  void CopySharedPages(int64_t layer);
  void Commit();
  void Abort();
  int64_t step_rows() const { return step_rows_; }  // 0: no step is open

  // Takes pages for an import into this empty state; false when the pool has no more.
  bool PrepareImport(int64_t tokens, int64_t first_raw);
  // What PrepareImport began; null when nothing is imported into this very state.
  ImportProgress* import() { return import_tables_[0].empty() ? nullptr : progress_.get(); }

  // Page tables of a layer. Entries that hold nothing readable are null.
  std::byte* const* pages(StatePart part, int64_t layer) const {
    return tables_[Index(part)][static_cast<size_t>(layer)].data();
  }
  // Those that PrepareImport made. Steps do not change them, so that importers may follow them
  // meanwhile; the pages stay this state's until every layer is ready.
  std::byte* const* import_pages(StatePart part, int64_t layer) const {
    return import_tables_[Index(part)][static_cast<size_t>(layer)].data();
  }
  int64_t heads(StatePart part) const {
    return part == StatePart::kCore ? shape_.core_heads() : shape_.kv_heads;
  }
  // Of every page of that part.
  PageLayout layout(StatePart part) const { return {shape_.dtype, heads(part), shape_.head_dim}; }

 private:
  using Table = std::vector<std::byte*>;
  using Tables = std::array<std::vector<Table>, 2>;  // [part][layer][page]
  // A shared page that this step writes to, and so has to copy. Once `made`, the copy is in the
  // table and `page` is the shared one, which keeps its reference until the step ends.
  struct Copy {
    StatePart part;
    int64_t layer;
    int64_t index;
    std::byte* page;
    bool made;
  };

  static size_t Index(StatePart part) { return part == StatePart::kCore ? 0 : 1; }
  int64_t CountOf(StatePart part) const { return part == StatePart::kCore ? cores() : tokens_; }
  // The last written page, when a step that adds to `part` has to copy it first; -1: none.
  int64_t SharedPartialPage(StatePart part, int64_t layer, int64_t after) const;
  bool GrowPart(StatePart part, int64_t layer, int64_t after);
  void Make(Copy& copy);
  void Undo();
  void ReleaseAll();

  const StateShape shape_;
  PagePool* const pool_;
  int64_t tokens_ = 0;
  int64_t first_raw_ = 0;
  int64_t step_rows_ = 0;
  Tables tables_;
  std::vector<Copy> copies_;
  std::shared_ptr<ImportProgress> progress_;  // of this state's or its ancestor's import, or null
  Tables import_tables_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CPU_STATE_H_
