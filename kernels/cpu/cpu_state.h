// Attention state of the CPU backend: per layer two tables of pages (page.h), one for core tokens,
// one for raw tokens. Branches share pages; a step copies the shared ones that it writes to.
#ifndef LONGLEAF_KERNELS_CPU_CPU_STATE_H_
#define LONGLEAF_KERNELS_CPU_CPU_STATE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/page_pool.h"

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

  // Makes this empty state equal to `parent`, sharing its pages.
  void ShareAll(const CpuState& parent);

  // Bytes of the pages that Grow(rows) takes.
  int64_t BytesToGrow(int64_t rows) const;
  // Takes the pages for `rows` more tokens, copies of shared ones included; false when the pool has
  // no more, and then nothing has changed. Opens a step that Commit or Abort ends.
  bool Grow(int64_t rows);
  void Commit();
  void Abort();
  int64_t step_rows() const { return step_rows_; }  // 0: no step is open

  // Takes pages for an import into this empty state; false when the pool has no more.
  bool PrepareImport(int64_t tokens, int64_t first_raw);
  bool import_complete() const { return missing_floats_.load() == 0; }
  // Counts `floats` of imported values; false when that is more than were missing. Readers of
  // different layers may call it at once.
  bool CountImported(int64_t floats);

  // Page tables of a layer. Entries that hold nothing readable are null.
  float* const* pages(StatePart part, int64_t layer) const {
    return tables_[Index(part)][static_cast<size_t>(layer)].data();
  }
  int64_t heads(StatePart part) const {
    return part == StatePart::kCore ? shape_.core_heads() : shape_.kv_heads;
  }

 private:
  using Table = std::vector<float*>;
  // A shared page that this step has replaced by a copy; it keeps its reference until the step
  // ends.
  struct Replaced {
    StatePart part;
    int64_t layer;
    int64_t index;
    float* page;
  };

  static size_t Index(StatePart part) { return part == StatePart::kCore ? 0 : 1; }
  int64_t PageFloatsOf(StatePart part) const;
  int64_t CountOf(StatePart part) const { return part == StatePart::kCore ? cores() : tokens_; }
  // The last written page, when a step that adds to `part` has to copy it first; -1: none.
  int64_t SharedPartialPage(StatePart part, int64_t layer, int64_t after) const;
  bool GrowPart(StatePart part, int64_t layer, int64_t after);
  void Undo();
  void ReleaseAll();

  const StateShape shape_;
  PagePool* const pool_;
  int64_t tokens_ = 0;
  int64_t first_raw_ = 0;
  int64_t step_rows_ = 0;
  std::atomic<int64_t> missing_floats_{0};
  std::array<std::vector<Table>, 2> tables_;  // [part][layer][page]
  std::vector<Replaced> replaced_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CPU_STATE_H_
