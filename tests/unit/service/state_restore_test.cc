// Restores by one and by several readers: what they bring, in which order, and how they end.
#include "service/state/state_restore.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "service/executor.h"

namespace longleaf::service {
namespace {

using Clock = StateRestore::Clock;

constexpr Clock::time_point kLongAgo = Clock::time_point::min();
constexpr Clock::time_point kNever = Clock::time_point::max();

// Bytes of a snapshot, handed out in values, with a gate before each value that is asked for.
class Source {
 public:
  Source(const model::SnapshotLayout& layout, size_t value_bytes) : value_bytes_(value_bytes) {
    for (int64_t segment = 0; segment <= layout.segments(); ++segment) {
      const int64_t bytes =
          segment < layout.segments() ? layout.SegmentBytes() : layout.TailBytes();
      std::vector<float> values(static_cast<size_t>(bytes) / sizeof(float));
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(segment) + static_cast<float>(i) * 0.25f;
      }
      segments_.emplace_back(static_cast<size_t>(bytes));
      std::memcpy(segments_.back().data(), values.data(), segments_.back().size());
    }
  }

  // Reading it gives this error.
  void Damage(int64_t segment, int64_t value, absl::Status error) {
    errors_[{segment, value}] = std::move(error);
  }
  // Readers stop here until Open.
  void Close(int64_t segment, int64_t value) {
    MutexLock lock(&mutex_);
    closed_.insert({segment, value});
  }
  void Open() {
    MutexLock lock(&mutex_);
    closed_.clear();
    changed_.NotifyAll();
  }
  void AwaitReaderAtGate() {
    MutexLock lock(&mutex_);
    while (waiting_ == 0) changed_.Wait(&mutex_);
  }

  absl::StatusOr<absl::Span<const std::byte>> Read(int64_t segment, int64_t value) {
    {
      MutexLock lock(&mutex_);
      read_.emplace_back(segment, value);
      if (closed_.contains({segment, value})) {
        ++waiting_;
        changed_.NotifyAll();
        while (closed_.contains({segment, value})) changed_.Wait(&mutex_);
        --waiting_;
      }
    }
    const auto damaged = errors_.find({segment, value});
    if (damaged != errors_.end()) return damaged->second;
    return absl::MakeConstSpan(segments_[static_cast<size_t>(segment)])
        .subspan(static_cast<size_t>(value) * value_bytes_, value_bytes_);
  }
  StateRestore::ReadValue Reader() {
    return [this](int64_t segment, int64_t value, store::ValueBuffer&) {
      return Read(segment, value);
    };
  }

  int64_t values(int64_t segment) const {
    return static_cast<int64_t>(
        (segments_[static_cast<size_t>(segment)].size() + value_bytes_ - 1) / value_bytes_);
  }
  std::vector<std::pair<int64_t, int64_t>> read() const {
    MutexLock lock(&mutex_);
    return read_;
  }
  std::string bytes() const {
    std::string all;
    for (const auto& segment : segments_) {
      all.append(reinterpret_cast<const char*>(segment.data()), segment.size());
    }
    return all;
  }

 private:
  const size_t value_bytes_;
  std::vector<std::vector<std::byte>> segments_;
  std::map<std::pair<int64_t, int64_t>, absl::Status> errors_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::set<std::pair<int64_t, int64_t>> closed_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<int64_t, int64_t>> read_ ABSL_GUARDED_BY(mutex_);
  int64_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Three layers, 300 tokens in spans of 40: seven segments and a tail.
class StateRestoreTest : public testing::Test {
 protected:
  static constexpr int64_t kLayers = 3;
  static constexpr size_t kValueBytes = 400;  // not a multiple of a block or a layer

  void SetUp() override {
    kernels::CpuOptions options;
    options.threads = 1;
    options.state_capacity_bytes = int64_t{64} << 20;
    options.poison_pages = true;
    backend_ = kernels::CreateCpuBackend(options).value();
    Begin();
  }
  void Begin(size_t value_bytes = kValueBytes) {
    restore_.reset();
    state_ = backend_->NewState(layout_.shape()).value();
    ASSERT_TRUE(model::PrepareRestore(*backend_, layout_, *state_).ok());
    source_ = std::make_unique<Source>(layout_, value_bytes);
    restore_ = StateRestore::Create(source_->Reader(), *backend_, layout_, *state_).value();
  }
  // Finish() here and Read() on more threads.
  absl::Status Run(int readers) {
    std::vector<std::thread> helpers;
    for (int i = 1; i < readers; ++i) {
      helpers.emplace_back([restore = restore_] { restore->Read(); });
    }
    absl::Status status = restore_->Finish();
    for (std::thread& helper : helpers) helper.join();
    return status;
  }
  std::string Held() {
    std::string bytes;
    const auto write = [&bytes](absl::Span<const std::byte> piece) {
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      return absl::OkStatus();
    };
    for (int64_t segment = 0; segment < layout_.segments(); ++segment) {
      EXPECT_TRUE(model::EncodeSegment(*backend_, *state_, layout_, segment, write).ok());
    }
    EXPECT_TRUE(model::EncodeTail(*backend_, *state_, layout_, write).ok());
    return bytes;
  }

  const model::SnapshotLayout layout_ =
      model::SnapshotLayout::For(
          {kLayers, 4, 2, 6, kernels::AttentionPolicy::Cca(4, 8, kernels::CoreHeads::kQuery)}, 300,
          40)
          .value();
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<kernels::State> state_;
  std::unique_ptr<Source> source_;
  std::shared_ptr<StateRestore> restore_;
};

TEST_F(StateRestoreTest, BringsEverythingWithAnyNumberOfReaders) {
  for (const size_t value_bytes : {size_t{4}, kValueBytes, size_t{1} << 20}) {
    for (int readers = 1; readers <= 4; ++readers) {
      Begin(value_bytes);
      EXPECT_FALSE(restore_->Finished());
      EXPECT_EQ(Run(readers), absl::OkStatus());
      EXPECT_TRUE(restore_->Finished());
      for (int64_t layer = 0; layer <= kLayers; ++layer) {
        EXPECT_EQ(restore_->Wait(layer, kLongAgo), absl::OkStatus());
      }
      EXPECT_TRUE(Held() == source_->bytes());
      // Late: nothing to do, and nothing of what is gone is touched.
      const size_t reads = source_->read().size();
      restore_->Cancel();
      restore_->Read();
      EXPECT_EQ(restore_->Finish(), absl::OkStatus());
      EXPECT_EQ(source_->read().size(), reads);
    }
  }
}

TEST_F(StateRestoreTest, LayersComeOneAfterAnother) {
  Begin(static_cast<size_t>(layout_.SegmentBytes() / kLayers));  // values of a segment are layers
  ASSERT_EQ(Run(1), absl::OkStatus());
  std::vector<int64_t> layers;
  for (const auto& [segment, value] : source_->read()) {
    if (segment < layout_.segments()) layers.push_back(value);
  }
  EXPECT_EQ(layers.size(), static_cast<size_t>(kLayers * layout_.segments()));
  EXPECT_TRUE(std::is_sorted(layers.begin(), layers.end()));
}

// More segments than may keep a value between two turns: the others read theirs again.
TEST_F(StateRestoreTest, ManySegmentsKeepFewValues) {
  const auto layout = model::SnapshotLayout::For(layout_.shape(), 60 * 40, 40).value();
  ASSERT_GT(layout.segments(), StateRestore::kMostKeptValues + 10);
  for (int readers = 1; readers <= 3; ++readers) {
    auto state = backend_->NewState(layout.shape()).value();
    ASSERT_TRUE(model::PrepareRestore(*backend_, layout, *state).ok());
    Source source(layout, size_t{1} << 20);  // one value a segment: never at its end in between
    restore_ = StateRestore::Create(source.Reader(), *backend_, layout, *state).value();
    ASSERT_EQ(Run(readers), absl::OkStatus());
    const auto segments = static_cast<size_t>(layout.segments()) + 1;
    const size_t reads = source.read().size();
    EXPECT_GT(reads, segments);
    // Each other reader may hold a place for one more.
    const size_t kept = StateRestore::kMostKeptValues - static_cast<size_t>(readers - 1);
    EXPECT_LE(reads, segments + (kLayers - 1) * (segments - kept));
    std::string bytes;
    const auto write = [&bytes](absl::Span<const std::byte> piece) {
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      return absl::OkStatus();
    };
    for (int64_t segment = 0; segment < layout.segments(); ++segment) {
      ASSERT_TRUE(model::EncodeSegment(*backend_, *state, layout, segment, write).ok());
    }
    ASSERT_TRUE(model::EncodeTail(*backend_, *state, layout, write).ok());
    EXPECT_TRUE(bytes == source.bytes());
  }
}

TEST_F(StateRestoreTest, DamageInAnySegmentEndsIt) {
  for (int64_t segment = 0; segment <= layout_.segments(); ++segment) {
    for (int readers = 1; readers <= 3; ++readers) {
      for (const bool last : {false, true}) {
        Begin();
        const int64_t value = last ? source_->values(segment) - 1 : 0;
        source_->Damage(segment, value, absl::DataLossError("damaged"));
        EXPECT_EQ(Run(readers), absl::DataLossError("damaged"));
        EXPECT_FALSE(restore_->Finished());
        EXPECT_EQ(restore_->Wait(0, kNever), absl::DataLossError("damaged"));
        EXPECT_EQ(restore_->Wait(kLayers, kNever), absl::DataLossError("damaged"));
        EXPECT_FALSE(state_->LayerReady(kLayers - 1));
        if (readers == 1 || !last) EXPECT_EQ(state_->LayerReady(0), last);
        restore_->Cancel();  // too late to be the reason
        EXPECT_EQ(restore_->Finish(), absl::DataLossError("damaged"));
      }
    }
  }
}

// With layer 1 of one segment held back, layer 0 is there, layer 1 is not, and nothing is finished.
TEST_F(StateRestoreTest, WaitsForALayer) {
  source_->Close(2, 0);
  auto first = std::async(std::launch::async, [this] { return restore_->Finish(); });
  source_->AwaitReaderAtGate();
  EXPECT_EQ(restore_->Wait(0, kLongAgo).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(restore_->Wait(kLayers + 1, kNever).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(restore_->Wait(-1, kNever).code(), absl::StatusCode::kInvalidArgument);
  restore_->Read();  // all the others, and then this reader leaves
  EXPECT_FALSE(state_->LayerReady(0));
  EXPECT_EQ(restore_->Wait(0, kLongAgo).code(), absl::StatusCode::kDeadlineExceeded);
  auto waiter = std::async(std::launch::async, [this] { return restore_->Wait(0, kNever); });
  source_->Open();
  EXPECT_EQ(waiter.get(), absl::OkStatus());
  EXPECT_TRUE(state_->LayerReady(0));
  EXPECT_EQ(restore_->Wait(kLayers, kNever), absl::OkStatus());
  EXPECT_EQ(first.get(), absl::OkStatus());
}

TEST_F(StateRestoreTest, CancelStopsReadersBeforeTheirNextBlock) {
  source_->Close(0, 1);
  auto first = std::async(std::launch::async, [this] { return restore_->Finish(); });
  source_->AwaitReaderAtGate();
  auto waiter = std::async(std::launch::async, [this] { return restore_->Wait(kLayers, kNever); });
  restore_->Cancel();
  EXPECT_TRUE(absl::IsCancelled(waiter.get()));  // does not need the reader
  const size_t reads = source_->read().size();
  source_->Open();
  EXPECT_TRUE(absl::IsCancelled(first.get()));
  EXPECT_EQ(source_->read().size(), reads);
  EXPECT_TRUE(absl::IsCancelled(restore_->Finish()));
}

// After Finish() nobody is at the state any more, however it ended.
TEST_F(StateRestoreTest, FinishWaitsForTheReadersThatAreAtIt) {
  for (const bool cancel : {true, false}) {
    Begin();
    source_->Close(0, 1);
    source_->Damage(1, 0, absl::DataLossError("damaged"));
    auto held = std::async(std::launch::async, [this] { restore_->Read(); });
    source_->AwaitReaderAtGate();
    if (cancel) restore_->Cancel();
    auto finish = std::async(std::launch::async, [this] { return restore_->Finish(); });
    EXPECT_FALSE(restore_->Wait(kLayers, kNever).ok());  // the end is known
    EXPECT_EQ(finish.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
    source_->Open();
    EXPECT_EQ(finish.get().code(),
              cancel ? absl::StatusCode::kCancelled : absl::StatusCode::kDataLoss);
    held.get();
  }
}

// What it borrows may go after Finish(), while late helpers still have the restore.
TEST_F(StateRestoreTest, LateHelpersTouchNothing) {
  std::promise<void> go_on;
  std::promise<void> busy;
  Executor executor(1);  // has something else to do
  executor.Run([&] {
    busy.set_value();
    go_on.get_future().wait();
  });
  busy.get_future().wait();
  executor.Run([restore = restore_] { restore->Read(); });
  EXPECT_EQ(restore_->Finish(), absl::OkStatus());
  state_.reset();
  source_.reset();
  backend_.reset();
  go_on.set_value();
}

TEST_F(StateRestoreTest, AValueThatDoesNotFitIsDataLoss) {
  for (const int64_t change : {-4, 4}) {
    Begin();
    std::vector<std::byte> value(static_cast<size_t>(layout_.SegmentBytes() + change));
    restore_ = StateRestore::Create(
                   [&value](int64_t, int64_t index,
                            store::ValueBuffer&) -> absl::StatusOr<absl::Span<const std::byte>> {
                     if (index > 0) return absl::Span<const std::byte>();
                     return absl::MakeConstSpan(value);
                   },
                   *backend_, layout_, *state_)
                   .value();
    EXPECT_TRUE(absl::IsDataLoss(Run(1)));
  }
}

// The layers are used while the rest is still being read: the step waits before each.
TEST_F(StateRestoreTest, AStepWaitsForItsLayers) {
  auto branch = backend_->Branch(*state_).value();
  const std::vector<kernels::BatchItem> batch = {{branch.get(), 1, 1}};
  ASSERT_TRUE(backend_->BeginStep(batch).ok());
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([restore = restore_] { restore->Read(); });
  }
  kernels::Rotary rotary;
  rotary.inverse_frequencies = {1, 0.1, 0.01};
  auto qkv = backend_->Allocate(1, 8 * 6).value();
  auto out = backend_->Allocate(1, 4 * 6).value();
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    ASSERT_EQ(restore_->Wait(layer, kNever), absl::OkStatus());
    ASSERT_TRUE(backend_->RotaryAppendPool(layer, batch, rotary, qkv->tensor()).ok());
    ASSERT_TRUE(
        backend_->Attention(layer, batch, kernels::Rows::kAll, qkv->tensor(), out->tensor()).ok());
  }
  EXPECT_EQ(restore_->Wait(kLayers, kNever), absl::OkStatus());
  backend_->CommitStep(batch);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(branch->tokens(), 301);
  EXPECT_TRUE(Held() == source_->bytes());
}

}  // namespace
}  // namespace longleaf::service
