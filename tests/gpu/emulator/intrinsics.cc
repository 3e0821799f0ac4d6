// What a warp does together, and functions whose names belong to the C library.
#include "tests/gpu/emulator/intrinsics.h"

namespace longleaf::emulator {
namespace {

constexpr unsigned kAll = 0xffffffffu;

struct ShuffleArgument {
  Shuffle how;
  int by, width;
  uint64_t value, result;
};

void ShuffleTogether(void* const* arguments) {
  for (int lane = 0; lane < 32; ++lane) {
    auto& self = *static_cast<ShuffleArgument*>(arguments[lane]);
    const int first = lane / self.width * self.width, in = lane - first;
    int from = in;
    switch (self.how) {
      case Shuffle::kFrom:
        from = self.by & (self.width - 1);
        break;
      case Shuffle::kUp:
        if (in - self.by >= 0) from = in - self.by;
        break;
      case Shuffle::kDown:
        if (in + self.by < self.width) from = in + self.by;
        break;
      case Shuffle::kXor:
        if ((in ^ self.by) < self.width) from = in ^ self.by;
        break;
    }
    self.result = static_cast<ShuffleArgument*>(arguments[first + from])->value;
  }
}

struct BallotArgument {
  bool predicate;
  uint32_t result;
};

void BallotTogether(void* const* arguments) {
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (static_cast<BallotArgument*>(arguments[lane])->predicate) votes |= 1u << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    static_cast<BallotArgument*>(arguments[lane])->result = votes;
  }
}

void NothingTogether(void* const*) {}

void RequireAll(unsigned mask) {
  if (mask != kAll) Fault("a mask that is not that of a whole warp");
}

}  // namespace

void ShuffleBits(unsigned mask, Shuffle how, int by, int width, uint64_t* value) {
  RequireAll(mask);
  ShuffleArgument argument{how, by, width, *value, 0};
  WarpTogether(ShuffleTogether, &argument);
  *value = argument.result;
}

uint32_t BallotOf(unsigned mask, bool predicate) {
  RequireAll(mask);
  BallotArgument argument{predicate, 0};
  WarpTogether(BallotTogether, &argument);
  return argument.result;
}

void SyncWarp(unsigned mask) {
  RequireAll(mask);
  WarpTogether(NothingTogether, nullptr);
}

}  // namespace longleaf::emulator

unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned nibble = selector >> (4 * i) & 0xf;
    auto byte = static_cast<unsigned>(bytes >> (8 * (nibble & 7)) & 0xff);
    if ((nibble & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;  // its sign
    result |= byte << (8 * i);
  }
  return result;
}

extern "C" {
float __expf(float x) noexcept { return std::exp(x); }
float __logf(float x) noexcept { return std::log(x); }
float __log2f(float x) noexcept { return std::log2(x); }
float __sinf(float x) noexcept { return std::sin(x); }
float __cosf(float x) noexcept { return std::cos(x); }
float __powf(float x, float y) noexcept { return std::pow(x, y); }
}
