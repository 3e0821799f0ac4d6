// Filling and sending the tables of a step.
#include "kernels/cuda/step_tables.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/cuda_state.h"

namespace longleaf::kernels::cuda {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kSmallest = 64 << 10;

int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

const CudaState& StateOf(const BatchItem& item) {
  return static_cast<const CudaState&>(*item.state);
}

// [StepItem][row items][page pointers], in this order, in bytes from the beginning.
struct Sections {
  explicit Sections(Batch batch) {
    int64_t pages = 0;
    for (const BatchItem& item : batch) {
      const CudaState& state = StateOf(item);
      for (StatePart part : {StatePart::kCore, StatePart::kRaw}) {
        pages += state.page_count(part) - state.first_page(part);
      }
      rows += item.rows;
    }
    row_items = Aligned(std::ssize(batch) * int64_t{sizeof(StepItem)});
    pointers = row_items + Aligned(rows * int64_t{sizeof(int32_t)});
    end = pointers + pages * int64_t{sizeof(std::byte*)};
  }

  int64_t rows = 0;
  int64_t row_items;
  int64_t pointers;
  int64_t end;
};

// Fills the pointers of one table and returns them.
absl::Span<std::byte* const> FillTable(const CudaState& state, StatePart part, std::byte** to) {
  std::byte** const begin = to;
  for (int64_t p = state.first_page(part); p < state.page_count(part); ++p) {
    *to++ = state.page(part, p)->data;
  }
  return {begin, static_cast<size_t>(to - begin)};
}

}  // namespace

Status StepTables::Reserve(int64_t bytes, cudaStream_t stream) {
  Staging& staging = staging_[next_];
  if (!staging.copied.has_value()) {
    StatusOr<Event> event = Event::Create();
    if (!event.ok()) return event.status();
    staging.copied = *std::move(event);
  } else if (Status status = staging.copied->Synchronize(); !status.ok()) {
    return status;
  }
  if (staging.memory.bytes() < bytes) {
    StatusOr<PinnedMemory> memory =
        PinnedMemory::Allocate(std::max({bytes, 2 * staging.memory.bytes(), kSmallest}));
    if (!memory.ok()) return memory.status();
    staging.memory = *std::move(memory);
  }
  if (device_.bytes() < bytes) {
    StatusOr<DeviceMemory> memory =
        DeviceMemory::Allocate(std::max({bytes, 2 * device_.bytes(), kSmallest}));
    if (!memory.ok()) return memory.status();
    // Steps that are queued read the old one.
    if (Status status = Check(cudaStreamSynchronize(stream), "waiting for the device");
        !status.ok()) {
      return status;
    }
    device_ = *std::move(memory);
    ++generation_;
  }
  return OkStatus();
}

Status StepTables::Begin(Batch batch, cudaStream_t stream) {
  const Sections sections(batch);
  states_.clear();
  if (Status status = Reserve(sections.end, stream); !status.ok()) return status;
  Staging& staging = staging_[next_];
  std::byte* const host = staging.memory.data();
  std::byte* const device = device_.data();
  StepItem* const items = reinterpret_cast<StepItem*>(host);                       // [items]
  int32_t* row_items = reinterpret_cast<int32_t*>(host + sections.row_items);      // [rows]
  std::byte** pointers = reinterpret_cast<std::byte**>(host + sections.pointers);  // [pages]
  items_.resize(batch.size());
  int32_t first_row = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const CudaState& state = StateOf(batch[i]);
    const int32_t rows = static_cast<int32_t>(batch[i].rows);
    HostStepItem& item = items_[i];
    item.first_token = state.tokens();
    item.first_row = first_row;
    item.rows = rows;
    item.trunk_tokens = state.trunk_tokens();
    item.first_core_page = state.first_page(StatePart::kCore);
    item.core_pages = FillTable(state, StatePart::kCore, pointers);
    pointers += item.core_pages.size();
    item.first_raw_page = state.first_page(StatePart::kRaw);
    item.raw_pages = FillTable(state, StatePart::kRaw, pointers);
    pointers += item.raw_pages.size();
    // Where page 0 of a table would be, had it been sent: an address that is never followed.
    const auto on_device = [&](absl::Span<std::byte* const> table, int64_t first_page) {
      const uintptr_t at =
          reinterpret_cast<uintptr_t>(device) +
          static_cast<uintptr_t>(reinterpret_cast<const std::byte*>(table.data()) - host);
      return reinterpret_cast<std::byte* const*>(at - static_cast<uintptr_t>(first_page) *
                                                          sizeof(std::byte*));
    };
    items[i] = {item.first_token, first_row, rows, on_device(item.core_pages, item.first_core_page),
                on_device(item.raw_pages, item.first_raw_page)};
    row_items = std::fill_n(row_items, rows, static_cast<int32_t>(i));
    first_row += rows;
  }
  if (Status status = Copy(device, host, sections.end, stream); !status.ok()) return status;
  if (Status status = staging.copied->Record(stream); !status.ok()) return status;
  next_ = 1 - next_;
  view_ = {reinterpret_cast<const StepItem*>(device),
           reinterpret_cast<const int32_t*>(device + sections.row_items),
           static_cast<int32_t>(batch.size()), first_row};
  for (const BatchItem& item : batch) states_.push_back(item.state);
  return OkStatus();
}

bool StepTables::Holds(Batch batch) const {
  if (batch.size() != states_.size()) return false;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].state != states_[i] || batch[i].rows != items_[i].rows) return false;
  }
  return true;
}

}  // namespace longleaf::kernels::cuda
