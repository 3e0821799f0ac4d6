// Hopper's barriers and products. A product is computed when it begins and lands when it is waited
// for.
#include "tests/gpu/emulator/warpgroup_ops.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "tests/gpu/emulator/block.h"
#include "tests/gpu/emulator/block_state.h"

namespace longleaf::emulator {
namespace {

// A barrier's 64 bits: arrivals that a phase needs, those it has had, phases that have ended, and a
// mark of having been made.
constexpr uint64_t kArrivals = 0xffff, kMark = uint64_t{0x5a} << 56;
constexpr int kHadShift = 16, kPhaseShift = 32;
bool IsMade(uint64_t barrier) { return barrier >> 56 == kMark >> 56; }

struct PhaseWaited {
  uint64_t* barrier;
  uint32_t parity;
  bool asked;  // before
  bool Ended() const { return (*barrier >> kPhaseShift & 1) != parity; }
};

// The arrivals at `barrier` that were promised, and what comes before them.
void KeepPromises(uint64_t* barrier) {
  for (int i = 0; i < block.thread_count; ++i) {
    Thread& thread = block.threads[static_cast<size_t>(i)];
    size_t kept = thread.promises.size();
    while (kept > 0 && thread.promises[kept - 1].barrier != barrier) --kept;
    if (kept == 0) continue;
    const std::vector<PromisedArrival> promises(
        thread.promises.begin(), thread.promises.begin() + static_cast<std::ptrdiff_t>(kept));
    LandCopies(thread, promises.back().copies);
    thread.promises.erase(thread.promises.begin(),
                          thread.promises.begin() + static_cast<std::ptrdiff_t>(kept));
    for (const PromisedArrival& promise : promises) ArriveAtPhase(promise.barrier);
  }
}

// ---- Products ----------------------------------------------------------------------------------

constexpr int kDepth = 16, kMostColumns = 128, kPiece = 16;

struct ProductArgument {
  const uint32_t* a;
  uint64_t tile;
  int columns;
  bool transposed;
  ProductInFlight* product;  // of the lane
};

// The byte of shared memory that is (k, n) of B, by the tile's fields: start, strides, permutation.
size_t Locate(const ProductArgument& argument, int k, int n) {
  const auto field = [&argument](int shift) {
    return static_cast<size_t>(argument.tile >> shift & 0x3fff) * kPiece;
  };
  const uint64_t mode = argument.tile >> 62;
  if (mode != 1 && mode != 2) Fault("a product's tile with a permutation that is not emulated");
  const size_t row_bytes = mode == 1 ? 128 : 64;
  const size_t start = field(0), blocks = field(16), groups = field(32);
  // `along`: the byte in a row; `across`: the row.
  const size_t along = 2 * static_cast<size_t>(argument.transposed ? n : k);
  const auto across = static_cast<size_t>(argument.transposed ? k : n);
  const size_t in_block = argument.transposed ? along % row_bytes : along;
  const size_t at = start + (argument.transposed ? along / row_bytes * blocks : 0) +
                    across / 8 * groups + across % 8 * row_bytes + in_block;
  // The 16-byte pieces of 8 rows of 128 bytes (2 x 4 rows of 64) are permuted by the row.
  return at ^ ((at >> 7 & (mode == 1 ? 7 : 3)) << 4);
}

const std::byte* At(size_t offset) {
  if (offset + 2 > block.shared_bytes) Fault("a product reads beyond the shared memory");
  return DynamicSharedMemory() + offset;
}

void MultiplyTogether(void* const* arguments) {
  const auto& first = *static_cast<ProductArgument*>(arguments[0]);
  const int columns = first.columns;
  float b[kDepth][kMostColumns];
  std::vector<std::pair<const std::byte*, uint16_t>> read;
  for (int k = 0; k < kDepth; ++k) {
    for (int n = 0; n < columns; ++n) {
      const std::byte* element = At(Locate(first, k, n));
      uint16_t bits = 0;
      std::memcpy(&bits, element, sizeof bits);
      b[k][n] = FromBf16(bits);
      read.emplace_back(element, bits);
    }
  }
  float a[16][kDepth];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& self = *static_cast<ProductArgument*>(arguments[lane]);
    if (self.tile != first.tile || self.columns != columns || self.transposed != first.transposed) {
      Fault("the lanes of a warp begin different products");
    }
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i % 2 * 8, k = lane % 4 * 2 + i / 2 * 8;
      a[row][k] = FromBf16(static_cast<uint16_t>(self.a[i]));
      a[row][k + 1] = FromBf16(static_cast<uint16_t>(self.a[i] >> 16));
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    ProductInFlight& product = *static_cast<ProductArgument*>(arguments[lane])->product;
    product.sums.assign(static_cast<size_t>(columns) / 2, 0.0f);
    for (int i = 0; i < columns / 2; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8, n = i / 4 * 8 + lane % 4 * 2 + i % 2;
      float sum = 0;
      for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[k][n];
      product.sums[static_cast<size_t>(i)] = sum;
    }
  }
  static_cast<ProductArgument*>(arguments[0])->product->b = std::move(read);
}

void Land(ProductInFlight& product) {
  if (!std::equal(product.a, product.a + 4, product.a_from)) {
    Fault("registers were written while a product read them");
  }
  for (const auto& [element, bits] : product.b) {
    if (std::memcmp(element, &bits, sizeof bits) != 0) {
      Fault("shared memory was written while a product read it");
    }
  }
  for (size_t i = 0; i < product.sums.size(); ++i) {
    const float before = !product.add             ? 0.0f
                         : product.before.empty() ? product.acc[i]
                                                  : product.before[i];
    product.acc[i] = before + product.sums[i];
  }
}

}  // namespace

void InitPhases(uint64_t* barrier, uint32_t count) {
  if (count == 0 || count > kMostThreads) Fault("a barrier for no thread, or too many");
  *barrier = kMark | count;
}

void ArriveAtPhase(uint64_t* barrier) {
  if (!IsMade(*barrier)) Fault("a barrier that was not made");
  const uint64_t had = (*barrier >> kHadShift & kArrivals) + 1;
  *barrier &= ~(kArrivals << kHadShift);
  if (had < (*barrier & kArrivals)) {
    *barrier |= had << kHadShift;
  } else {
    *barrier += uint64_t{1} << kPhaseShift;
  }
}

void ArriveWhenCopied(uint64_t* barrier) {
  Thread& self = *block.running;
  self.promises.push_back({barrier, self.copies.size()});
}

void WaitForPhase(uint64_t* barrier, uint32_t parity) {
  if (!IsMade(*barrier)) Fault("a barrier that was not made");
  PhaseWaited waited{barrier, parity, false};
  WaitUntil(
      [](void* argument) {
        auto& self = *static_cast<PhaseWaited*>(argument);
        // Copies come as late as they may: when who waits has let others go on first.
        if (!self.Ended() && std::exchange(self.asked, true)) KeepPromises(self.barrier);
        return self.Ended();
      },
      &waited);
}

uint32_t SharedOffset(const void* shared) {
  const std::ptrdiff_t offset = static_cast<const std::byte*>(shared) - DynamicSharedMemory();
  if (offset < 0 || offset >= static_cast<std::ptrdiff_t>(block.shared_bytes)) {
    Fault("not an address in dynamic shared memory");
  }
  return static_cast<uint32_t>(offset);
}

void BeginProduct(float* acc, int columns, const uint32_t* a, uint64_t tile, bool transposed,
                  bool add) {
  Thread& self = *block.running;
  ProductInFlight product;
  product.acc = acc;
  product.add = add;
  product.a_from = a;
  std::copy(a, a + 4, product.a);
  ProductArgument argument{a, tile, columns, transposed, &product};
  WarpTogether(MultiplyTogether, &argument);
  const bool follows =
      std::any_of(self.products.begin(), self.products.end(),
                  [acc](const ProductInFlight& earlier) { return earlier.acc == acc; });
  if (!follows) {
    product.before.assign(acc, acc + columns / 2);
    std::fill(acc, acc + columns / 2, std::nanf(""));
  }
  self.products.push_back(std::move(product));
}

void CloseProductGroup() {
  Thread& self = *block.running;
  self.product_groups.push_back(self.products.size());
}

void WaitForProductGroups(int newest_left) {
  Thread& self = *block.running;
  const auto left = static_cast<size_t>(newest_left);
  if (self.product_groups.size() <= left) return;
  const size_t landing = self.product_groups.size() - left;
  const size_t end = self.product_groups[landing - 1];
  for (size_t i = 0; i < end; ++i) Land(self.products[i]);
  self.products.erase(self.products.begin(),
                      self.products.begin() + static_cast<std::ptrdiff_t>(end));
  self.product_groups.erase(self.product_groups.begin(),
                            self.product_groups.begin() + static_cast<std::ptrdiff_t>(landing));
  for (size_t& group : self.product_groups) group -= end;
}

}  // namespace longleaf::emulator
