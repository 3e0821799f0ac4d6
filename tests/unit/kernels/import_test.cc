// Steps with states whose import is under way: layers are used as they arrive, the others are
// refused, and what comes out is what a whole state gives, bit for bit.
#include <algorithm>
#include <memory>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

// Canonical bytes of one range, and where they belong.
struct Piece {
  int64_t layer;
  StatePart part;
  int64_t first;
  int64_t count;
  std::vector<std::byte> bytes;
};

// `tokens` tokens read by a state of `backend`, as pieces of at most `most` tokens, and their own
// continuations.
class ImportTest : public BackendTest {
 protected:
  static constexpr int64_t kTokens = 90;

  void Read(const StateShape& shape) {
    shape_ = shape;
    sequence_ = std::make_unique<Sequence>(shape, kTokens + 40, 17);
    whole_ = backend_->NewState(shape).value();
    Feed(*backend_, *whole_, *sequence_, kTokens, 64);
    target_ = backend_->NewState(shape).value();
    ASSERT_TRUE(backend_->PrepareImport(*target_, kTokens, whole_->first_raw()).ok());
  }
  std::vector<Piece> PiecesOf(int64_t layer, int64_t most) {
    std::vector<Piece> pieces;
    for (const auto& [part, begin, end, heads] :
         {std::tuple{StatePart::kCore, int64_t{0}, whole_->cores(), shape_.core_heads()},
          std::tuple{StatePart::kRaw, whole_->first_raw(), kTokens, shape_.kv_heads}}) {
      for (int64_t first = begin; first < end; first += most) {
        const int64_t count = std::min(most, end - first);
        Piece piece{layer, part, first, count, {}};
        piece.bytes.resize(static_cast<size_t>(2 * count * heads * shape_.row_bytes()));
        EXPECT_TRUE(
            backend_->Export(*whole_, layer, part, first, count, absl::MakeSpan(piece.bytes)).ok());
        pieces.push_back(std::move(piece));
      }
    }
    return pieces;
  }
  void Import(const Piece& piece) {
    EXPECT_TRUE(
        backend_->Import(*target_, piece.layer, piece.part, piece.first, piece.count, piece.bytes)
            .ok());
  }
  void ImportLayer(int64_t layer) {
    for (const Piece& piece : PiecesOf(layer, 16)) Import(piece);
  }
  // Runs `rows` rows of the sequence through `layer` of an open step: the attention's output, or
  // why not.
  absl::StatusOr<std::vector<float>> Layer(State& state, int64_t layer, int64_t rows) {
    const std::vector<BatchItem> batch = {{&state, rows, rows}};
    const float* from =
        sequence_->layers[static_cast<size_t>(layer)].data() + state.tokens() * sequence_->width;
    auto qkv = Upload(*backend_, {from, from + rows * sequence_->width}, rows, sequence_->width);
    auto out = backend_->Allocate(rows, shape_.query_heads * shape_.head_dim).value();
    absl::Status status =
        backend_->RotaryAppendPool(layer, batch, RotaryFor(shape_), qkv->tensor());
    const absl::Status attended =
        backend_->Attention(layer, batch, Rows::kAll, qkv->tensor(), out->tensor());
    EXPECT_EQ(status.code(), attended.code());
    if (!status.ok()) return status;
    return Download(*backend_, out->tensor());
  }

  StateShape shape_;
  std::unique_ptr<Sequence> sequence_;
  std::unique_ptr<State> whole_;   // has read kTokens
  std::unique_ptr<State> target_;  // empty, prepared to be the same
};
LONGLEAF_ON_ALL_BACKENDS(ImportTest);

TEST_P(ImportTest, LayersAreUsedAsTheyArrive) {
  for (const StateShape& shape : ShapesHere()) {
    SCOPED_TRACE(Describe(shape));
    Read(shape);
    auto branch = backend_->Branch(*target_).value();
    auto expected = backend_->Branch(*whole_).value();
    const std::vector<BatchItem> batch = {{branch.get(), 9, 9}};
    const std::vector<BatchItem> expected_batch = {{expected.get(), 9, 9}};
    ASSERT_TRUE(backend_->BeginStep(batch).ok());
    ASSERT_TRUE(backend_->BeginStep(expected_batch).ok());
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      EXPECT_EQ(Layer(*branch, layer, 9).status().code(), absl::StatusCode::kFailedPrecondition);
      ImportLayer(layer);
      EXPECT_EQ(Layer(*branch, layer, 9).value(), Layer(*expected, layer, 9).value());
    }
    backend_->CommitStep(batch);
    backend_->CommitStep(expected_batch);
    EXPECT_EQ(ExportAll(*backend_, *branch), ExportAll(*backend_, *expected));
    EXPECT_EQ(ExportAll(*backend_, *target_), ExportAll(*backend_, *whole_));
    // The state itself goes on as well as its branch.
    EXPECT_EQ(Feed(*backend_, *target_, *sequence_, kTokens + 40, 7),
              Feed(*backend_, *whole_, *sequence_, kTokens + 40, 7));
  }
}

TEST_P(ImportTest, AStepOfTheStateItselfWhileItIsFilled) {
  for (const StateShape& shape : ShapesHere()) {
    SCOPED_TRACE(Describe(shape));
    Read(shape);
    const std::vector<BatchItem> batch = {{target_.get(), 40, 40}};  // takes new pages
    ASSERT_TRUE(backend_->BeginStep(batch).ok());
    std::vector<std::vector<float>> got;
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      ImportLayer(layer);
      got.push_back(Layer(*target_, layer, 40).value());
    }
    backend_->CommitStep(batch);
    const std::vector<BatchItem> expected_batch = {{whole_.get(), 40, 40}};
    ASSERT_TRUE(backend_->BeginStep(expected_batch).ok());
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      EXPECT_EQ(got[static_cast<size_t>(layer)], Layer(*whole_, layer, 40).value());
    }
    backend_->CommitStep(expected_batch);
    EXPECT_EQ(ExportAll(*backend_, *target_), ExportAll(*backend_, *whole_));
  }
}

TEST_P(ImportTest, AnAbortedStepLeavesAnImportAlone) {
  for (const StateShape& shape : ShapesHere()) {
    SCOPED_TRACE(Describe(shape));
    Read(shape);
    auto branch = backend_->Branch(*target_).value();
    const int64_t bytes = backend_->memory().state_bytes;
    ImportLayer(0);
    for (State* state : {branch.get(), target_.get()}) {
      const std::vector<BatchItem> batch = {{state, 40, 40}};
      ASSERT_TRUE(backend_->BeginStep(batch).ok());
      EXPECT_TRUE(Layer(*state, 0, 40).ok());
      EXPECT_FALSE(Layer(*state, 1, 40).ok());
      backend_->AbortStep(batch);
      EXPECT_EQ(state->tokens(), kTokens);
      EXPECT_EQ(backend_->memory().state_bytes, bytes);
    }
    ImportLayer(1);
    const std::vector<float> held = ExportAll(*backend_, *whole_);
    EXPECT_EQ(ExportAll(*backend_, *target_), held);
    EXPECT_EQ(ExportAll(*backend_, *branch), held);
    // In what order attention adds up may depend on where a state was branched (cuda/attention.h).
    auto expected = backend_->Branch(*whole_).value();
    EXPECT_EQ(Feed(*backend_, *branch, *sequence_, kTokens + 40, 7),
              Feed(*backend_, *expected, *sequence_, kTokens + 40, 7));
  }
}

// An import that is given up: what had arrived stays good, the rest is never there.
TEST_P(ImportTest, ABranchOutlivesItsParent) {
  for (const StateShape& shape : ShapesHere()) {
    SCOPED_TRACE(Describe(shape));
    Read(shape);
    auto branch = backend_->Branch(*target_).value();
    auto of_branch = backend_->Branch(*branch).value();
    ImportLayer(0);
    target_.reset();
    // Somebody else gets whatever pages are free, and fills them.
    auto stranger = backend_->NewState(shape).value();
    Feed(*backend_, *stranger, *sequence_, kTokens, 64);
    branch.reset();
    EXPECT_TRUE(of_branch->LayerReady(0));
    EXPECT_FALSE(of_branch->LayerReady(1));
    auto late = backend_->Branch(*of_branch).value();
    EXPECT_FALSE(late->LayerReady(1));
    const std::vector<BatchItem> batch = {{late.get(), 5, 5}};
    auto expected = backend_->Branch(*whole_).value();
    const std::vector<BatchItem> expected_batch = {{expected.get(), 5, 5}};
    ASSERT_TRUE(backend_->BeginStep(batch).ok());
    ASSERT_TRUE(backend_->BeginStep(expected_batch).ok());
    EXPECT_EQ(Layer(*late, 0, 5).value(), Layer(*expected, 0, 5).value());
    EXPECT_EQ(Layer(*late, 1, 5).status().code(), absl::StatusCode::kFailedPrecondition);
    backend_->AbortStep(batch);
    backend_->AbortStep(expected_batch);
    late.reset();
    expected.reset();
    of_branch.reset();
    stranger.reset();
    EXPECT_EQ(backend_->memory().state_bytes, whole_->bytes());
  }
}

// Branches of what is being restored, the state itself, and members that have nothing to do with
// it, in one step after another while three threads import. The thread sanitizer watches.
TEST_P(ImportTest, SeveralImportersBesideSteps) {
  // Pieces of three tokens: under the narrower types importers write side by side.
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    const StateShape shape = ShapeOf(4, 2, 16, "cca:g=4,w=8", dtype);
    SCOPED_TRACE(Describe(shape));
    Read(shape);
    std::vector<std::vector<Piece>> shares(3);
    size_t next = 0;
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      for (Piece& piece : PiecesOf(layer, 3)) shares[next++ % 3].push_back(std::move(piece));
    }
    auto other = backend_->NewState(shape).value();
    std::vector<std::thread> importers;
    for (const std::vector<Piece>& share : shares) {
      importers.emplace_back([this, &share] {
        for (const Piece& piece : share) Import(piece);
      });
    }
    std::vector<std::unique_ptr<State>> branches;
    for (int i = 0; i < 3; ++i) {
      branches.push_back(backend_->Branch(*target_).value());
      const std::vector<BatchItem> batch = {
          {branches.back().get(), 5, 5}, {target_.get(), 2, 2}, {other.get(), 1, 1}};
      ASSERT_TRUE(backend_->BeginStep(batch).ok());
      auto qkv = Upload(*backend_, RandomFloats(8 * 128, 5), 8, 128);
      for (int64_t layer = 0; layer < shape.layers; ++layer) {
        const bool ready = target_->LayerReady(layer);
        const absl::Status status =
            backend_->RotaryAppendPool(layer, batch, RotaryFor(shape), qkv->tensor());
        EXPECT_TRUE(status.ok() || (!ready && absl::IsFailedPrecondition(status))) << status;
      }
      backend_->AbortStep(batch);
      Feed(*backend_, *other, *sequence_, (i + 1) * 20, 11);
    }
    for (std::thread& importer : importers) importer.join();
    const std::vector<float> held = ExportAll(*backend_, *whole_);
    EXPECT_EQ(ExportAll(*backend_, *target_), held);
    auto branched = backend_->Branch(*whole_).value();
    const std::vector<float> expected = Feed(*backend_, *branched, *sequence_, kTokens + 40, 7);
    for (const std::unique_ptr<State>& branch : branches) {
      EXPECT_EQ(ExportAll(*backend_, *branch), held);
      EXPECT_EQ(Feed(*backend_, *branch, *sequence_, kTokens + 40, 7), expected);
    }
  }
}

}  // namespace
}  // namespace longleaf::kernels
