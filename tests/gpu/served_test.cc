// A whole server on the CUDA backend, emulated: what it says of itself, and that a document which
// one device has read is answered on the other from the stored state.
#include <atomic>
#include <string>

#include "tests/gpu/emulator/emulator.h"
#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

constexpr char kFact[] = "Drentdale";  // is told of once, near the beginning of the document
constexpr char kQuestion[] = "How many people live in the village of Drentdale?";
constexpr char kAnswer[] = "347";

// Sentences of the built-in document around the fact: some hundred tokens, so that the fact lies in
// core tokens, and the emulator is done in seconds.
std::string Excerpt(const std::string& document) {
  const size_t fact = document.find(kFact);
  const size_t begin = document.rfind(". ", fact - 200) + 2;
  return document.substr(begin, document.find(". ", fact + 500) + 1 - begin);
}

class ServedTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    options_.weights = "bf16";  // that both devices take
    options_.state_dtype = "bf16";
    options_.state_memory_bytes = int64_t{64} << 20;
    options_.prefill_chunk = 128;
  }
  std::string Device() {
    grpc::ClientContext context;
    v1::Model model;
    EXPECT_TRUE(models_->GetModel(&context, v1::GetModelRequest(), &model).ok());
    return model.device();
  }
  // Reads a document on one device and answers it on both.
  void ReadOnAnswerOn(const char* reads, const char* answers) {
    options_.device = reads;
    Start();
    EXPECT_EQ(Device().substr(0, Device().find(' ')), reads);
    UploadAndWait("doc", Excerpt(DemoDocument()));
    EXPECT_GT(Metric("longleaf_state_bytes{tier=\"memory\"}"), 0);
    EXPECT_GT(Metric("longleaf_weight_bytes"), 2e6);  // of the linear layers, in bf16
    EXPECT_GT(Metric("longleaf_working_bytes"), 0);
    const Answer live = Ask("doc", kQuestion);
    ASSERT_TRUE(live.status.ok()) << live.status.error_message();
    EXPECT_NE(live.text.find(kAnswer), std::string::npos) << live.text;

    Stop();
    options_.device = answers;
    Start();
    EXPECT_EQ(Device().substr(0, Device().find(' ')), answers);
    const Answer stored = Ask("doc", kQuestion);
    ASSERT_TRUE(stored.status.ok()) << stored.status.error_message();
    EXPECT_EQ(stored.started.tier(), v1::STATE_TIER_DISK);
    EXPECT_EQ(stored.started.tokens_prefilled(), stored.finished.usage().question_tokens());
    EXPECT_EQ(stored.text, live.text);
  }
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
  UploadAndWait("doc", Excerpt(DemoDocument()));
  const Answer answer = Ask("doc", kQuestion);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_NE(answer.text.find(kAnswer), std::string::npos) << answer.text;
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
  UploadAndWait("doc", Excerpt(DemoDocument()));
  int64_t failed = 0;
  for (int64_t call = 1; !lost; call += 3) {
    emulator::FailCall(call, GetParam());
    const Answer answer = Ask("doc", kQuestion);
    ASSERT_LT(call, 1000) << "no failure was the device's end";
    if (answer.status.ok()) {
      EXPECT_NE(answer.text.find(kAnswer), std::string::npos) << answer.text;
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
  EXPECT_EQ(Ask("doc", kQuestion).status.error_code(), grpc::StatusCode::UNAVAILABLE);

  Stop();
  options_.device = "cpu";
  Start();
  const Answer answer = Ask("doc", kQuestion);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.started.tier(), v1::STATE_TIER_DISK);
  EXPECT_NE(answer.text.find(kAnswer), std::string::npos) << answer.text;
}

}  // namespace
}  // namespace longleaf::service
