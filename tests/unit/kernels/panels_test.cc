// Panels of weights: bf16 against the scalar rules and against the same numbers in f32, on every
// instruction set of this machine.
#include "kernels/cpu/panels.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/aligned.h"
#include "kernels/float_types.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

class PanelsTest : public testing::Test {
 protected:
  // Runs `body` with each instruction set alone.
  template <typename Body>
  void OnEveryInstructionSet(const Body& body) {
    const int64_t all = hwy::SupportedTargets();
    for (int64_t targets = all; targets != 0; targets &= targets - 1) {
      const int64_t target = targets & -targets;
      hwy::SetSupportedTargetsForTest(target);
      SCOPED_TRACE(hwy::TargetName(target));
      body();
    }
    hwy::SetSupportedTargetsForTest(0);
  }
};

TEST_F(PanelsTest, RoundToBF16FollowsTheRule) {
  std::vector<float> x = RandomFloats(300, 1);
  for (const uint32_t bits :
       {0u, 0x80000000u, 0x7f800000u, 0xff800000u, 0x7f7fffffu, 0x7fc00001u, 0x7f800001u,
        0x3f808000u, 0x3f818000u, 0x3f808001u, 1u, 0x00018000u}) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    x.push_back(value);
  }
  OnEveryInstructionSet([&] {
    for (size_t begin : {size_t{0}, size_t{1}, size_t{7}}) {  // other lanes
      std::vector<float> rounded = x;
      RoundToBF16(rounded.data() + begin, static_cast<int64_t>(x.size() - begin));
      for (size_t i = begin; i < x.size(); ++i) {
        const float expected = FloatFromBF16(BF16FromFloat(x[i]));
        ASSERT_EQ(std::memcmp(&rounded[i], &expected, sizeof(float)), 0) << x[i];
      }
    }
  });
}

// One input more or less at the end, columns of the last panel missing, rows in one group and in
// several: bf16 gives the bits that the expanded panel gives.
TEST_F(PanelsTest, BF16IsTheProductOfItsNumbersInF32) {
  for (const int64_t depth : {1, 2, 15, 64, 333}) {
    const std::vector<float> weights = RandomFloats(kPanelColumns * depth, 1);
    const std::vector<float> x = RandomFloats(97 * depth, 2);
    for (const int64_t columns : {kPanelColumns, int64_t{50}}) {
      PanelSource source;
      source.columns = columns;
      source.in_features = depth;
      for (int64_t n = 0; n < columns; ++n) {
        source.rows[n] = weights.data() + n * depth;
        source.types[n] = DType::kF32;
      }
      const int64_t padded = PaddedDepth(depth);
      OnEveryInstructionSet([&] {
        const AlignedBytes packed = AllocateBytes(padded * kPanelColumns * 2);
        auto* const panel = reinterpret_cast<uint16_t*>(packed.get());
        PackPanel(source, panel);
        const AlignedFloats expanded = AllocateFloats(padded * kPanelColumns);
        ExpandPanel(panel, padded, expanded.get());
        for (int64_t k = 0; k < padded; ++k) {
          for (int64_t n = 0; n < kPanelColumns; ++n) {
            const bool inside = k < depth && n < columns;
            const float weight = inside ? weights[static_cast<size_t>(n * depth + k)] : 0;
            ASSERT_EQ(expanded.get()[k * kPanelColumns + n], FloatFromBF16(BF16FromFloat(weight)));
          }
        }
        for (const int64_t rows : {1, 2, 5, 13, 48, 97}) {
          for (const bool reread : {false, true}) {
            PanelProduct p;
            p.depth = depth;
            p.columns = columns;
            p.in = x.data();
            p.in_stride = depth;
            p.out_stride = kPanelColumns + 3;
            p.rows = rows;
            p.add = true;
            p.reread = reread;
            std::vector<float> expected(static_cast<size_t>(rows * p.out_stride), 0.5f);
            std::vector<float> result = expected;
            p.panel = expanded.get();
            p.out = expected.data();
            MultiplyPanel(p);
            p.panel = nullptr;
            p.bf16_panel = panel;
            p.out = result.data();
            MultiplyPanel(p);
            ASSERT_EQ(result, expected) << rows << " x " << depth << " -> " << columns;
          }
        }
      });
    }
  }
}

}  // namespace
}  // namespace longleaf::kernels
