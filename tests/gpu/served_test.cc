// A whole server on the CUDA backend, emulated: what it says of itself, and that a document which
// one device has read is answered on the other from the stored state.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/gpu/emulator/emulator.h"
#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

struct Fact {
  std::string excerpt;  // of the built-in document
  std::string question;
  std::string answer;
};

// What the built-in model's questions ask for, each in the sentences around it: some hundred
// tokens, so that the fact lies in core tokens, and the emulator is done in seconds.
std::vector<Fact> Facts(const std::string& document) {
  std::vector<Fact> facts;
  std::ifstream file(LONGLEAF_SOURCE_DIR "/model/demo/questions.tsv");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string depth;
    Fact fact;
    std::getline(std::getline(std::getline(fields, depth, '\t'), fact.question, '\t'), fact.answer);
    if (depth == "-") {
      continue;
    }
    const size_t near = document.size() * std::stoul(depth) / 100;
    const size_t at = document.find(fact.answer, near - std::min<size_t>(near, 600));
    if (at == std::string::npos || at < 200) {
      continue;
    }
    const size_t begin = document.rfind(". ", at - 100) + 2;
    fact.excerpt = document.substr(begin, document.find(". ", at + 550) + 1 - begin);
    facts.push_back(fact);
  }
  return facts;
}

class ServedTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    options_.weights = "bf16";  // that both devices take
    options_.state_dtype = "bf16";
    options_.state_memory_bytes = int64_t{64} << 20;
    options_.prefill_chunk = 128;
    FindFact();
  }
  // The first that the model knows on the CPU: no device can know more.
  void FindFact() {
    const std::string store = options_.store_path;
    options_.store_path = directory_ + "/cpu";
    Start();
    for (const Fact& fact : Facts(DemoDocument())) {
      const std::string id = "doc-" + std::to_string(++tried_);
      UploadAndWait(id, fact.excerpt);
      if (Ask(id, fact.question).text == fact.answer) {
        fact_ = fact;
        break;
      }
    }
    Stop();
    options_.store_path = store;
    ASSERT_NE(fact_.answer, "") << "the model knows nothing";
  }
  std::string Device() { return GetModel().device(); }
  // Reads a document on one device and answers it on both.
  void ReadOnAnswerOn(const char* reads, const char* answers) {
    options_.device = reads;
    Start();
    EXPECT_EQ(Device().substr(0, Device().find(' ')), reads);
    UploadAndWait("doc", fact_.excerpt);
    EXPECT_GT(Metric("longleaf_state_bytes{tier=\"memory\"}"), 0);
    EXPECT_GT(Metric("longleaf_weight_bytes"), 2e6);  // of the linear layers, in bf16
    EXPECT_GT(Metric("longleaf_working_bytes"), 0);
    const Answer live = Ask("doc", fact_.question);
    ASSERT_TRUE(live.status.ok()) << live.status.error_message();
    EXPECT_NE(live.text.find(fact_.answer), std::string::npos) << live.text;

    Stop();
    options_.device = answers;
    Start();
    EXPECT_EQ(Device().substr(0, Device().find(' ')), answers);
    const Answer stored = Ask("doc", fact_.question);
    ASSERT_TRUE(stored.status.ok()) << stored.status.error_message();
    EXPECT_EQ(stored.started.tier(), v1::STATE_TIER_DISK);
    EXPECT_EQ(stored.started.tokens_prefilled(), stored.finished.usage().question_tokens());
    EXPECT_EQ(stored.text, live.text);
  }

  Fact fact_;
  int tried_ = 0;
};

TEST_F(ServedTest, ReadOnTheDeviceAnsweredOnTheCpu) { ReadOnAnswerOn("cuda", "cpu"); }

TEST_F(ServedTest, ReadOnTheCpuAnsweredOnTheDevice) { ReadOnAnswerOn("cpu", "cuda"); }

// The model is compared with itself in bf16 before it serves.
TEST_F(ServedTest, FP8ServesWhatHasProvedItself) {
  const int capability = emulator::ComputeCapability();
  emulator::SetComputeCapability(90);
  options_.device = "cuda";
  options_.weights = "fp8";
  Start();
  UploadAndWait("doc", fact_.excerpt);
  const Answer answer = Ask("doc", fact_.question);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_NE(answer.text.find(fact_.answer), std::string::npos) << answer.text;
  Stop();
  emulator::SetComputeCapability(capability);
}

// One call to the device after the other fails while a question is answered. Either the question
// takes note of it, or nobody does, or the device is lost and the server says so; the document is
// there in any case, and the next process answers from it.
class BrokenDeviceTest : public ServedTest, public ::testing::WithParamInterface<cudaError_t> {};
INSTANTIATE_TEST_SUITE_P(All, BrokenDeviceTest,
                         ::testing::Values(cudaErrorIllegalAddress, cudaErrorMemoryAllocation));

TEST_P(BrokenDeviceTest, IsTold) {
  std::atomic<bool> lost = false;
  device_lost_ = [&lost](const absl::Status&) { lost = true; };
  options_.device = "cuda";
  Start();
  UploadAndWait("doc", fact_.excerpt);
  int64_t failed = 0;
  for (int64_t call = 1; !lost; call += 3) {
    emulator::FailCall(call, GetParam());
    const Answer answer = Ask("doc", fact_.question);
    ASSERT_LT(call, 1000) << "no failure was the device's end";
    if (answer.status.ok()) {
      EXPECT_NE(answer.text.find(fact_.answer), std::string::npos) << answer.text;
    } else {
      EXPECT_TRUE(answer.status.error_code() == grpc::StatusCode::INTERNAL ||
                  answer.status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                  answer.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED)
          << answer.status.error_message();
      ++failed;
    }
  }
  emulator::FailCall(0, cudaSuccess);
  EXPECT_GT(failed, 0);
  EXPECT_EQ(Ask("doc", fact_.question).status.error_code(), grpc::StatusCode::UNAVAILABLE);

  Stop();
  options_.device = "cpu";
  Start();
  const Answer answer = Ask("doc", fact_.question);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.started.tier(), v1::STATE_TIER_DISK);
  EXPECT_NE(answer.text.find(fact_.answer), std::string::npos) << answer.text;
}

}  // namespace
}  // namespace longleaf::service
