// A ring of events.
#include "kernels/cuda/stream_points.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace longleaf::kernels::cuda {

using absl::Status;

int64_t StreamPoints::next() const {
  MutexLock lock(&mutex_);
  return last_ + 1;
}

Status StreamPoints::Record(int64_t point) {
  std::optional<Event>& event = events_[static_cast<size_t>(point % kKept)];
  if (!event.has_value()) {
    absl::StatusOr<Event> made = Event::Create();
    if (!made.ok()) return made.status();
    event = *std::move(made);
  }
  return event->Record(stream_);
}

int64_t StreamPoints::Mark() {
  MutexLock lock(&mutex_);
  ++last_;
  status_.Update(Record(last_));
  return last_;
}

Status StreamPoints::Wait(int64_t point, cudaStream_t stream) const {
  MutexLock lock(&mutex_);
  if (!status_.ok()) return status_;
  if (point > last_) {
    return absl::InternalError(
        absl::StrCat("waiting for point ", point, " of the device's work, of ", last_));
  }
  if (point <= 0) return absl::OkStatus();
  const int64_t kept = std::max(point, last_ - kKept + 1);
  return events_[static_cast<size_t>(kept % kKept)]->Wait(stream);
}

Status StreamPoints::status() const {
  MutexLock lock(&mutex_);
  return status_;
}

}  // namespace longleaf::kernels::cuda
