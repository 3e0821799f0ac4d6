// Canonical bytes: the same from every backend, whole before they are used, and moved by other
// threads while steps run.
#include <thread>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

class TransferTest : public BackendTest {};
LONGLEAF_ON_ALL_BACKENDS(TransferTest);

TEST_P(TransferTest, CanonicalBytesAreTheSameForEveryBackend) {
  auto other = Make(GetParam() == Kind::kReference ? Kind::kCpuThreeThreads : Kind::kReference);
  for (const StateShape& shape : ShapesHere()) {
    for (int64_t length : {1, 64, 131}) {
      const Sequence sequence(shape, 170, 71);
      auto state = backend_->NewState(shape).value();
      Feed(*backend_, *state, sequence, length, 64);
      const std::vector<std::byte> held = ExportBytes(*backend_, *state);
      auto there = Transfer(*backend_, *state, *other);
      EXPECT_EQ(ExportBytes(*other, *there), held);
      auto back = Transfer(*other, *there, *backend_);
      EXPECT_EQ(ExportBytes(*backend_, *back), held);
      EXPECT_EQ(back->cores(), state->cores());
      EXPECT_EQ(back->first_raw(), state->first_raw());
      // A restored state goes on bit for bit like the live one.
      EXPECT_EQ(Feed(*backend_, *back, sequence, 170, 16),
                Feed(*backend_, *state, sequence, 170, 16))
          << Describe(shape) << ", " << length << " tokens";
    }
  }
}

TEST_P(TransferTest, AnImportMustBeWhole) {
  const StateShape shape = ShapeOf(2, 2, 8, "cca:g=4,w=8");
  auto state = backend_->NewState(shape).value();
  EXPECT_EQ(backend_->PrepareImport(*state, 20, 17).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(backend_->PrepareImport(*state, 20, 12).ok());
  const auto branch = backend_->Branch(*state).value();
  const auto ready = [&](int64_t layer) {
    EXPECT_EQ(branch->LayerReady(layer), state->LayerReady(layer));
    return state->LayerReady(layer);
  };
  std::vector<std::byte> bytes(2 * 8 * 2 * 8 * 4);
  const absl::Span<std::byte> span = absl::MakeSpan(bytes);
  EXPECT_FALSE(backend_->Import(*state, 0, StatePart::kRaw, 11, 8, span).ok());
  EXPECT_FALSE(backend_->Import(*state, 0, StatePart::kRaw, 13, 8, span).ok());
  EXPECT_FALSE(backend_->Import(*state, 2, StatePart::kRaw, 12, 8, span).ok());
  EXPECT_FALSE(backend_->Import(*state, 0, StatePart::kRaw, 12, 8, span.subspan(1)).ok());
  for (int64_t layer = 0; layer < 2; ++layer) {
    EXPECT_FALSE(ready(layer));
    EXPECT_FALSE(backend_->Import(*branch, layer, StatePart::kRaw, 12, 8, span).ok());
    EXPECT_TRUE(backend_->Import(*state, layer, StatePart::kRaw, 12, 8, span).ok());
    EXPECT_FALSE(ready(layer));
    EXPECT_EQ(backend_->Export(*state, layer, StatePart::kRaw, 12, 8, span).code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(
        backend_->Import(*state, layer, StatePart::kCore, 0, 5, span.first(2 * 5 * 2 * 8 * 4))
            .ok());
    EXPECT_TRUE(ready(layer));
    EXPECT_FALSE(backend_->Import(*state, layer, StatePart::kRaw, 12, 8, span).ok());
  }
}

// The disk works beside the steps: a snapshot is written while branches of it go on, and another
// state is filled. The thread sanitizer watches.
TEST_P(TransferTest, ExportAndImportRunBesideSteps) {
  const StateShape shape = ShapeOf(4, 2, 16, "cca:g=4,w=8");
  const Sequence sequence(shape, 300, 91);
  auto parent = backend_->NewState(shape).value();
  Feed(*backend_, *parent, sequence, 90, 90);
  const std::vector<float> held = ExportAll(*backend_, *parent);
  auto branch = backend_->Branch(*parent).value();
  auto restored = backend_->NewState(shape).value();
  ASSERT_TRUE(backend_->PrepareImport(*restored, 90, parent->first_raw()).ok());
  std::vector<float> exported;
  const auto copy_layer = [&](int64_t layer) {
    for (const auto& [part, first, count, heads] :
         {std::tuple{StatePart::kCore, int64_t{0}, parent->cores(), shape.core_heads()},
          std::tuple{StatePart::kRaw, parent->first_raw(), 90 - parent->first_raw(),
                     shape.kv_heads}}) {
      std::vector<std::byte> bytes(static_cast<size_t>(2 * count * heads * shape.row_bytes()));
      EXPECT_TRUE(backend_->Export(*parent, layer, part, first, count, absl::MakeSpan(bytes)).ok());
      EXPECT_TRUE(backend_->Import(*restored, layer, part, first, count, bytes).ok());
    }
  };
  std::thread first([&] { copy_layer(0); });
  std::thread second([&] {
    copy_layer(1);
    exported = ExportAll(*backend_, *parent);
  });
  Feed(*backend_, *branch, sequence, 300, 11);
  first.join();
  second.join();
  EXPECT_EQ(exported, held);
  EXPECT_EQ(ExportAll(*backend_, *restored), held);
  EXPECT_EQ(Feed(*backend_, *restored, sequence, 300, 11).size(), size_t{210 * 64});
  EXPECT_EQ(ExportAll(*backend_, *restored), ExportAll(*backend_, *branch));
}

}  // namespace
}  // namespace longleaf::kernels
