// The whole of the device's attention, through the backend: questions on one document in common
// steps agree with the reference, and what an item gets has the same bits beside others and alone.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

constexpr int64_t kDocument = 333;
constexpr int64_t kEnd = 420;  // of every sequence

// Questions of these lengths, then one token a step.
constexpr int64_t kQuestions[] = {1, 20, 16, 33, 64};
constexpr int kAnswer = 2;

std::vector<StateShape> ShapesHere() {
  return {ShapeOf(2, 2, 64, "cca:g=4,w=128,heads=query", DType::kBF16),
          ShapeOf(4, 2, 64, "cca:g=2,w=64,heads=query", DType::kI8),
          ShapeOf(4, 1, 64, "cca:g=2,w=96,heads=kv", DType::kBF16),
          ShapeOf(2, 1, 64, "full", DType::kBF16),
          ShapeOf(2, 1, 128, "full", DType::kI8),
          ShapeOf(4, 2, 96, "streaming:sinks=70,w=100", DType::kBF16),
          ShapeOf(2, 1, 80, "full", DType::kBF16),
          ShapeOf(4, 2, 32, "cca:g=2,w=64,heads=kv", DType::kF32)};
}

// What each question, by itself, has been given: all rows of the first layer, and of the last, step
// by step.
using Answers = std::vector<std::vector<float>>;

class Document {
 public:
  Document(Backend& backend, const StateShape& shape) : backend_(backend), text_(shape, kEnd, 1) {
    state_ = backend.NewState(shape).value();
    Feed(backend, *state_, text_, kDocument, 200);
    for (uint32_t q = 0; q < std::size(kQuestions); ++q)
      sequences_.emplace_back(text_, kDocument, q + 2);
  }

  Answers Ask(const std::vector<size_t>& questions) {
    std::vector<std::unique_ptr<State>> branches;
    for (size_t n = 0; n < questions.size(); ++n) {
      branches.push_back(backend_.Branch(*state_).value());
    }
    Answers answers(questions.size());
    for (int step = 0; step <= kAnswer; ++step) {
      std::vector<Member> members;
      for (size_t n = 0; n < questions.size(); ++n) {
        const int64_t rows = step == 0 ? kQuestions[questions[n]] : 1;
        members.push_back({branches[n].get(), &sequences_[questions[n]], rows, 1});
      }
      const StepResult result = RunStep(backend_, members, 0);
      backend_.CommitStep(BatchOf(members));
      for (const auto& layer : result.attention) {
        for (size_t n = 0; n < questions.size(); ++n) {
          answers[n].insert(answers[n].end(), layer[n].begin(), layer[n].end());
        }
      }
    }
    return answers;
  }

 private:
  Backend& backend_;
  const Sequence text_;
  std::unique_ptr<State> state_;
  std::vector<Sequence> sequences_;
};

TEST(DeviceAttentionTest, QuestionsTogetherAndAlone) {
  const std::vector<size_t> all = {0, 1, 2, 3, 4, 0};
  for (const StateShape& shape : ShapesHere()) {
    SCOPED_TRACE(Describe(shape));
    auto reference = Make(Kind::kReference);
    auto device = Make(Kind::kCuda);
    Document there(*reference, shape), here(*device, shape);
    const Answers expected = there.Ask(all), together = here.Ask(all);
    for (size_t n = 0; n < all.size(); ++n) {
      // Scores grow with the root of the head size, to twice those that the tolerance is made for,
      // and what was rounded to another neighbour on its way into the state differs by 2^-8. How
      // right the kernels are by themselves: attention_mma_test.cc.
      EXPECT_LE(LargestGap(together[n], expected[n]), 4 * AttentionTolerance(shape)) << n;
    }
    EXPECT_EQ(together[0], together[5]);
    for (const size_t n : {0, 3, 4}) EXPECT_EQ(here.Ask({n})[0], together[n]) << "question " << n;
    EXPECT_EQ(here.Ask({4, 2})[1], together[2]);
  }
}

}  // namespace
}  // namespace longleaf::kernels
