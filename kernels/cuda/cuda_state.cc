// Page tables of a state: growing, sharing, committing.
#include "kernels/cuda/cuda_state.h"

#include <algorithm>

#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

using absl::OkStatus;
using absl::Status;

namespace {

constexpr StatePart kParts[] = {StatePart::kCore, StatePart::kRaw};

int64_t PagesFor(int64_t count) { return (count + kPageTokens - 1) / kPageTokens; }

}  // namespace

CudaState::~CudaState() {
  Abort();
  ReleaseAll();
}

void CudaState::ReleaseAll() {
  for (Table& table : tables_) {
    for (DevicePage* page : table) {
      if (page != nullptr) pool_->Release(page);
    }
    table.clear();
  }
}

int64_t CudaState::bytes() const {
  int64_t bytes = 0;
  for (const Table& table : tables_) {
    for (const DevicePage* page : table) bytes += page == nullptr ? 0 : page->bytes;
  }
  return bytes;
}

void CudaState::ShareAll(const CudaState& parent) {
  tables_ = parent.tables_;
  tokens_ = parent.tokens_;
  trunk_tokens_ = parent.tokens_;
  first_raw_ = parent.first_raw_;
  written_ = parent.written_;
  if (parent.progress_ != nullptr && !parent.progress_->Complete()) progress_ = parent.progress_;
  for (const Table& table : tables_) {
    for (DevicePage* page : table) {
      if (page != nullptr) DevicePagePool::Share(page);
    }
  }
}

int64_t CudaState::CountAfter(StatePart part, int64_t rows) const {
  return part == StatePart::kCore ? shape_.policy.CoresAfter(tokens_ + rows) : tokens_ + rows;
}

int64_t CudaState::SharedPartialPage(StatePart part, int64_t after) const {
  const int64_t count = CountOf(part);
  if (after == count || count % kPageTokens == 0) return -1;
  const int64_t index = count / kPageTokens;
  return DevicePagePool::IsShared(committed_page(part, index)) ? index : -1;
}

int64_t CudaState::BytesToGrow(int64_t rows) const {
  int64_t bytes = 0;
  for (StatePart part : kParts) {
    const int64_t after = CountAfter(part, rows);
    const int64_t copies = SharedPartialPage(part, after) >= 0 ? 1 : 0;
    bytes += (PagesFor(after) - PagesFor(CountOf(part)) + copies) * layout(part).bytes();
  }
  return bytes;
}

bool CudaState::GrowPart(StatePart part, int64_t after) {
  Table& table = tables_[Index(part)];
  const int64_t bytes = layout(part).bytes();
  if (const int64_t partial = SharedPartialPage(part, after); partial >= 0) {
    Copy& copy = copies_[Index(part)];
    copy.page = pool_->Take(bytes);
    if (copy.page == nullptr) return false;
    copy.index = partial;
    copy.made.assign(static_cast<size_t>(shape_.layers), false);
  }
  for (int64_t more = PagesFor(after) - page_count(part); more > 0; --more) {
    DevicePage* page = pool_->Take(bytes);
    if (page == nullptr) return false;
    table.push_back(page);
  }
  return true;
}

bool CudaState::Grow(int64_t rows) {
  step_rows_ = rows;
  for (StatePart part : kParts) {
    if (!GrowPart(part, CountAfter(part, rows))) {
      Undo();
      return false;
    }
  }
  return true;
}

Status CudaState::Make(StatePart part, int64_t first, int64_t end, cudaStream_t stream) {
  Copy& copy = copies_[Index(part)];
  if (copy.page == nullptr) return OkStatus();
  const std::byte* const from = committed_page(part, copy.index)->data;
  const int64_t layer_bytes = layout(part).layer_bytes();
  const auto made = copy.made.begin();
  for (auto begin = std::find(made + first, made + end, false); begin != made + end;) {
    const auto stop = std::find(begin, made + end, true);
    const int64_t at = (begin - made) * layer_bytes;
    const Status status =
        kernels::cuda::Copy(copy.page->data + at, from + at, (stop - begin) * layer_bytes, stream);
    if (!status.ok()) return status;
    std::fill(begin, stop, true);
    begin = std::find(stop, made + end, false);
  }
  return OkStatus();
}

Status CudaState::CopySharedPages(int64_t layer, cudaStream_t stream) {
  const bool all = progress_ == nullptr || progress_->Complete();
  for (StatePart part : kParts) {
    const Status status =
        all ? Make(part, 0, shape_.layers, stream) : Make(part, layer, layer + 1, stream);
    if (!status.ok()) return status;
  }
  return OkStatus();
}

// What the step wrote beyond the committed counts stays in pages of this state alone, where nobody
// reads it; only pages have to be given back. Work of the step that is still queued may write to
// them: their next user comes behind it (page_pool.h).
void CudaState::Undo() {
  for (StatePart part : kParts) {
    Table& table = tables_[Index(part)];
    const size_t keep = static_cast<size_t>(PagesFor(CountOf(part)));
    while (table.size() > keep) {
      pool_->Release(table.back());
      table.pop_back();
    }
    Copy& copy = copies_[Index(part)];
    if (copy.page != nullptr) pool_->Release(copy.page);
    copy.page = nullptr;
  }
  step_rows_ = 0;
}

void CudaState::Abort() {
  if (step_rows_ != 0) Undo();
}

void CudaState::Commit() {
  if (step_rows_ == 0) return;
  for (StatePart part : kParts) {
    Copy& copy = copies_[Index(part)];
    if (copy.page == nullptr) continue;
    // Layers that the step left out.
    pool_->Note(Make(part, 0, shape_.layers, pool_->points().stream()));
    DevicePage*& entry = tables_[Index(part)][static_cast<size_t>(copy.index)];
    pool_->Release(entry);
    entry = copy.page;
    copy.page = nullptr;
  }
  tokens_ += step_rows_;
  step_rows_ = 0;
  written_ = pool_->points().next();
  const int64_t old_first_page = first_page(StatePart::kRaw);
  first_raw_ = std::max(first_raw_, shape_.policy.FirstRaw(tokens_));
  for (int64_t p = old_first_page; p < first_page(StatePart::kRaw); ++p) {
    DevicePage*& page = tables_[Index(StatePart::kRaw)][static_cast<size_t>(p)];
    if (page != nullptr) pool_->Release(page);
    page = nullptr;
  }
}

bool CudaState::PrepareImport(int64_t tokens, int64_t first_raw) {
  const int64_t cores = shape_.policy.CoresAfter(tokens);
  for (StatePart part : kParts) {
    const bool core = part == StatePart::kCore;
    const int64_t first = core ? 0 : first_raw / kPageTokens;
    Table& table = tables_[Index(part)];
    table.assign(static_cast<size_t>(PagesFor(core ? cores : tokens)), nullptr);
    for (size_t p = static_cast<size_t>(first); p < table.size(); ++p) {
      table[p] = pool_->Take(layout(part).bytes());
      if (table[p] == nullptr) {
        ReleaseAll();
        return false;
      }
    }
  }
  tokens_ = tokens;
  first_raw_ = first_raw;
  import_tables_ = tables_;
  prepared_ = pool_->points().Mark();
  written_ = prepared_;
  progress_ = std::make_shared<ImportProgress>(
      shape_.layers, 2 * shape_.row_bytes() *
                         (cores * shape_.core_heads() + (tokens - first_raw) * shape_.kv_heads));
  return true;
}

}  // namespace longleaf::kernels::cuda
