// Page tables of a state: growing, sharing, committing.
#include "kernels/cpu/cpu_state.h"

#include <algorithm>
#include <utility>

#include "kernels/cpu/page.h"

namespace longleaf::kernels {
namespace {

constexpr StatePart kParts[] = {StatePart::kCore, StatePart::kRaw};

int64_t PagesFor(int64_t count) { return (count + kPageTokens - 1) / kPageTokens; }

}  // namespace

CpuState::CpuState(const StateShape& shape, PagePool* pool) : shape_(shape), pool_(pool) {
  for (std::vector<Table>& layers : tables_) layers.resize(static_cast<size_t>(shape.layers));
}

CpuState::~CpuState() {
  if (step_rows_ != 0) Undo();
  ReleaseAll();
}

void CpuState::ReleaseAll() {
  for (std::vector<Table>& layers : tables_) {
    for (Table& table : layers) {
      for (std::byte* page : table) {
        if (page != nullptr) pool_->Release(page);
      }
      table.clear();
    }
  }
}

int64_t CpuState::bytes() const {
  int64_t bytes = 0;
  for (StatePart part : kParts) {
    for (const Table& table : tables_[Index(part)]) {
      bytes += layout(part).bytes() *
               std::count_if(table.begin(), table.end(), [](std::byte* p) { return p != nullptr; });
    }
  }
  return bytes;
}

void CpuState::ShareAll(const CpuState& parent) {
  tables_ = parent.tables_;
  tokens_ = parent.tokens_;
  first_raw_ = parent.first_raw_;
  if (parent.progress_ != nullptr && !parent.progress_->Complete()) progress_ = parent.progress_;
  for (const std::vector<Table>& layers : tables_) {
    for (const Table& table : layers) {
      for (std::byte* page : table) {
        if (page != nullptr) PagePool::Share(page);
      }
    }
  }
}

int64_t CpuState::SharedPartialPage(StatePart part, int64_t layer, int64_t after) const {
  const int64_t count = CountOf(part);
  if (after == count || count % kPageTokens == 0) return -1;
  const int64_t index = count / kPageTokens;
  const std::byte* page =
      tables_[Index(part)][static_cast<size_t>(layer)][static_cast<size_t>(index)];
  return PagePool::IsShared(page) ? index : -1;
}

int64_t CpuState::BytesToGrow(int64_t rows) const {
  int64_t bytes = 0;
  for (StatePart part : kParts) {
    const int64_t after =
        part == StatePart::kCore ? shape_.policy.CoresAfter(tokens_ + rows) : tokens_ + rows;
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      const int64_t copies = SharedPartialPage(part, layer, after) >= 0 ? 1 : 0;
      bytes += (PagesFor(after) - PagesFor(CountOf(part)) + copies) * layout(part).bytes();
    }
  }
  return bytes;
}

bool CpuState::GrowPart(StatePart part, int64_t layer, int64_t after) {
  Table& table = tables_[Index(part)][static_cast<size_t>(layer)];
  const int64_t bytes = layout(part).bytes();
  const int64_t partial = SharedPartialPage(part, layer, after);
  if (partial >= 0) {
    std::byte* copy = pool_->Take(bytes);
    if (copy == nullptr) return false;
    copies_.push_back({part, layer, partial, copy, false});
  }
  for (int64_t more = PagesFor(after) - static_cast<int64_t>(table.size()); more > 0; --more) {
    std::byte* page = pool_->Take(bytes);
    if (page == nullptr) return false;
    table.push_back(page);
  }
  return true;
}

bool CpuState::Grow(int64_t rows) {
  step_rows_ = rows;
  for (StatePart part : kParts) {
    const int64_t after =
        part == StatePart::kCore ? shape_.policy.CoresAfter(tokens_ + rows) : tokens_ + rows;
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      if (!GrowPart(part, layer, after)) {
        Undo();
        return false;
      }
    }
  }
  return true;
}

void CpuState::Make(Copy& copy) {
  std::byte*& entry =
      tables_[Index(copy.part)][static_cast<size_t>(copy.layer)][static_cast<size_t>(copy.index)];
  std::copy_n(entry, layout(copy.part).bytes(), copy.page);
  std::swap(entry, copy.page);
  copy.made = true;
}

bool CpuState::HasSharedPages(int64_t layer) const {
  return std::any_of(copies_.begin(), copies_.end(),
                     [layer](const Copy& copy) { return copy.layer == layer && !copy.made; });
}

void CpuState::CopySharedPages(int64_t layer) {
  for (Copy& copy : copies_) {
    if (copy.layer == layer && !copy.made) Make(copy);
  }
}

// What the step wrote beyond the committed counts stays in pages of this state alone, where nobody
// reads it; only pages have to be given back.
void CpuState::Undo() {
  for (StatePart part : kParts) {
    const size_t keep = static_cast<size_t>(PagesFor(CountOf(part)));
    for (Table& table : tables_[Index(part)]) {
      while (table.size() > keep) {
        pool_->Release(table.back());
        table.pop_back();
      }
    }
  }
  for (Copy& copy : copies_) {
    if (copy.made) {
      std::swap(tables_[Index(copy.part)][static_cast<size_t>(copy.layer)]
                       [static_cast<size_t>(copy.index)],
                copy.page);
    }
    pool_->Release(copy.page);
  }
  copies_.clear();
  step_rows_ = 0;
}

void CpuState::Abort() {
  if (step_rows_ != 0) Undo();
}

void CpuState::Commit() {
  for (Copy& copy : copies_) {
    if (!copy.made) Make(copy);  // a layer that the step left out
    pool_->Release(copy.page);
  }
  copies_.clear();
  tokens_ += step_rows_;
  step_rows_ = 0;
  const int64_t old_first_raw = first_raw_;
  first_raw_ = std::max(first_raw_, shape_.policy.FirstRaw(tokens_));
  for (Table& table : tables_[Index(StatePart::kRaw)]) {
    for (int64_t p = old_first_raw / kPageTokens; p < first_raw_ / kPageTokens; ++p) {
      std::byte*& page = table[static_cast<size_t>(p)];
      if (page != nullptr) pool_->Release(page);
      page = nullptr;
    }
  }
}

bool CpuState::PrepareImport(int64_t tokens, int64_t first_raw) {
  const int64_t cores = shape_.policy.CoresAfter(tokens);
  for (StatePart part : kParts) {
    const bool core = part == StatePart::kCore;
    const int64_t first = core ? 0 : first_raw / kPageTokens;
    const int64_t end = PagesFor(core ? cores : tokens);
    for (Table& table : tables_[Index(part)]) {
      table.assign(static_cast<size_t>(end), nullptr);
      for (int64_t p = first; p < end; ++p) {
        table[static_cast<size_t>(p)] = pool_->Take(layout(part).bytes());
        if (table[static_cast<size_t>(p)] == nullptr) {
          ReleaseAll();
          return false;
        }
      }
    }
  }
  tokens_ = tokens;
  first_raw_ = first_raw;
  import_tables_ = tables_;
  progress_ = std::make_shared<ImportProgress>(
      shape_.layers, 2 * shape_.row_bytes() *
                         (cores * shape_.core_heads() + (tokens - first_raw) * shape_.kv_heads));
  return true;
}

}  // namespace longleaf::kernels
