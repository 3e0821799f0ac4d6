// What the tests of states on the device share: states filled with canonical bytes, without a
// backend and its kernels.
#ifndef LONGLEAF_TESTS_GPU_STATE_FIXTURE_H_
#define LONGLEAF_TESTS_GPU_STATE_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_state.h"
#include "kernels/cuda/page_pool.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/transfer.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels::cuda {

inline constexpr StatePart kBothParts[] = {StatePart::kCore, StatePart::kRaw};

// The canonical bytes of one layer and part of a state.
struct Content {
  int64_t layer;
  StatePart part;
  int64_t first;
  int64_t count;
  std::vector<std::byte> bytes;
};

// What `state` holds: one Content for each layer and part.
std::vector<Content> ContentsOf(Backend& backend, const State& state);
// The bytes of `count` tokens of one, from token `first` on.
std::vector<std::byte> Cut(const Content& content, const StateShape& shape, int64_t first,
                           int64_t count);

class DeviceStateTest : public testing::Test {
 protected:
  static constexpr int64_t kCapacity = int64_t{64} << 20;

  // An empty state.
  std::unique_ptr<CudaState> NewState(const StateShape& shape) {
    return std::make_unique<CudaState>(shape, &pool_);
  }
  // What a state of the reference holds that has read `tokens` tokens.
  std::vector<Content> Read(const StateShape& shape, int64_t tokens);
  // A state that holds it, by Import.
  std::unique_ptr<CudaState> Filled(const StateShape& shape, int64_t tokens,
                                    const std::vector<Content>& contents);
  absl::Status Import(CudaState& state, const Content& content);
  // The same of `state`, by Export.
  std::vector<Content> Exported(const CudaState& state);
  std::vector<std::byte> Export(const CudaState& state, int64_t layer, StatePart part,
                                int64_t first, int64_t count);
  // Device memory, behind what the main stream has been given.
  std::vector<std::byte> BytesAt(const std::byte* device, int64_t bytes);

  Stream stream_ = Stream::Create().value();  // the main one
  DevicePagePool pool_{kCapacity, true, stream_.get()};
  std::unique_ptr<Transfer> transfer_ = Transfer::Create(&pool_.points()).value();
};

void ExpectEqual(const std::vector<Content>& actual, const std::vector<Content>& expected);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_TESTS_GPU_STATE_FIXTURE_H_
