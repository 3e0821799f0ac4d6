#include "service/state/state_restore.h"

#include <algorithm>
#include <utility>

namespace longleaf::service {

absl::Status CheckSegments(const store::Snapshot& snapshot, const model::SnapshotLayout& layout) {
  bool fits = layout.tokens() == snapshot.token_count() &&
              layout.segments() + 1 == static_cast<int64_t>(snapshot.segments().size()) &&
              layout.TailBytes() == snapshot.tail()->info().bytes;
  for (const store::SegmentPtr& core : snapshot.cores()) {
    fits = fits && core->info().bytes == layout.SegmentBytes();
  }
  return fits ? absl::OkStatus()
              : absl::InvalidArgumentError("a stored state's meta and segments do not agree");
}

absl::StatusOr<std::shared_ptr<StateRestore>> StateRestore::Create(
    store::Store& store, kernels::Backend& backend, store::SnapshotPtr snapshot,
    const model::SnapshotLayout& layout, kernels::State& state) {
  if (absl::Status status = CheckSegments(*snapshot, layout); !status.ok()) {
    return status;
  }
  return Create(
      [&store, snapshot = std::move(snapshot)](int64_t segment, int64_t value,
                                               store::ValueBuffer& buffer) {
        return store.ReadValue(*snapshot, segment, value, buffer);
      },
      backend, layout, state);
}

absl::StatusOr<std::shared_ptr<StateRestore>> StateRestore::Create(
    ReadValue read, kernels::Backend& backend, const model::SnapshotLayout& layout,
    kernels::State& state) {
  std::vector<Stream> streams;
  streams.reserve(static_cast<size_t>(layout.segments()) + 1);
  for (int64_t segment = 0; segment <= layout.segments(); ++segment) {
    absl::StatusOr<model::SegmentDecoder> decoder =
        model::SegmentDecoder::Create(backend, layout, segment, state);
    if (!decoder.ok()) {
      return decoder.status();
    }
    streams.emplace_back(segment, *std::move(decoder));
  }
  return std::shared_ptr<StateRestore>(
      new StateRestore(std::move(read), layout.shape().layers, std::move(streams)));
}

StateRestore::StateRestore(ReadValue read, int64_t layers, std::vector<Stream> streams)
    : layers_(layers), read_(std::move(read)), streams_(std::move(streams)) {
  const auto turns = static_cast<int64_t>(streams_.size());
  missing_.assign(static_cast<size_t>(layers), turns);
  missing_.push_back(layers * turns);
}

// The segment that is furthest behind and that nobody is at, or null. Readers that find none leave:
// then every segment that is not done has a reader, who goes on with it.
StateRestore::Stream* StateRestore::Take() {
  if (Ended()) {
    return nullptr;
  }
  Stream* found = nullptr;
  for (Stream& stream : streams_) {
    if (!stream.busy && stream.decoder.next_layer() < layers_ &&
        (found == nullptr || stream.decoder.next_layer() < found->decoder.next_layer())) {
      found = &stream;
    }
  }
  if (found != nullptr) {
    found->busy = true;
    kept_values_ -= found->kept ? 1 : 0;
    found->kept = false;
    ++reading_;
  }
  return found;
}

void StateRestore::Return(Stream& stream, absl::Status status) {
  stream.busy = false;
  --reading_;
  if (status.ok()) {
    if (!stream.shown.empty() && kept_values_ < kMostKeptValues &&
        stream.decoder.next_layer() < layers_) {
      stream.kept = true;
      ++kept_values_;
    } else {
      stream.shown = {};
      stream.buffer = store::ValueBuffer();
    }
    --missing_.back();
    int64_t& layer = missing_[static_cast<size_t>(stream.decoder.next_layer() - 1)];
    if (--layer == 0) {
      changed_.NotifyAll();
    }
  } else {
    Fail(std::move(status));
  }
  if (Ended() && reading_ == 0) {
    // What belongs to others goes now; a late helper may keep this object longer.
    streams_.clear();
    read_ = nullptr;
    changed_.NotifyAll();
  }
}

void StateRestore::Fail(absl::Status status) {
  if (Ended()) {
    return;
  }
  status_ = std::move(status);
  stop_.store(true, std::memory_order_relaxed);
  changed_.NotifyAll();
}

void StateRestore::Read() {
  std::vector<std::byte> scratch;
  mutex_.Lock();
  while (Stream* stream = Take()) {
    mutex_.Unlock();
    absl::Status status = ReadLayer(*stream, scratch);
    mutex_.Lock();
    Return(*stream, std::move(status));
  }
  mutex_.Unlock();
}

absl::Status StateRestore::Finish() {
  Read();
  MutexLock lock(&mutex_);
  while (!Ended() || reading_ > 0) {
    changed_.Wait(&mutex_);
  }
  return status_;
}

void StateRestore::Cancel() {
  MutexLock lock(&mutex_);
  Fail(absl::CancelledError("the restore was cancelled"));
}

absl::Status StateRestore::Wait(int64_t layer, Clock::time_point deadline) {
  if (layer < 0 || layer > layers_) {
    return absl::InvalidArgumentError("no such layer");
  }
  MutexLock lock(&mutex_);
  while (status_.ok() && missing_[static_cast<size_t>(layer)] > 0) {
    if (!changed_.WaitUntil(&mutex_, deadline) && status_.ok() &&
        missing_[static_cast<size_t>(layer)] > 0) {
      return absl::DeadlineExceededError("the state is still being restored");
    }
  }
  return status_;
}

bool StateRestore::Finished() const {
  MutexLock lock(&mutex_);
  return missing_.back() == 0;
}

absl::Status StateRestore::ReadLayer(Stream& stream, std::vector<std::byte>& scratch) {
  absl::Status status = stream.decoder.DecodeNextLayer(
      [this, &stream](size_t most) { return Next(stream, most); }, scratch);
  LeaveValueAtItsEnd(stream);
  if (status.ok() && stream.decoder.next_layer() == layers_ && !stream.shown.empty()) {
    return absl::DataLossError("a stored state is longer than its meta says");
  }
  return status;
}

void StateRestore::LeaveValueAtItsEnd(Stream& stream) {
  if (!stream.shown.empty() && stream.offset == stream.shown.size()) {
    stream.shown = {};
    stream.offset = 0;
    ++stream.value;
  }
}

absl::StatusOr<absl::Span<const std::byte>> StateRestore::Next(Stream& stream, size_t most) {
  if (stop_.load(std::memory_order_relaxed)) {
    return absl::CancelledError("the restore has ended");
  }
  LeaveValueAtItsEnd(stream);
  if (stream.shown.empty()) {
    absl::StatusOr<absl::Span<const std::byte>> value =
        read_(stream.segment, stream.value, stream.buffer);
    if (!value.ok()) {
      return value;
    }
    if (value->size() <= stream.offset) {
      return absl::DataLossError("a stored state has a value that is too short");
    }
    stream.shown = *value;
  }
  const absl::Span<const std::byte> next = stream.shown.subspan(stream.offset, most);
  stream.offset += next.size();
  return next;
}

}  // namespace longleaf::service
