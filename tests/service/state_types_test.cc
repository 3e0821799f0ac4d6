// A server whose states are bf16 or int8: what it says of them, what they take on disk, that a
// stored one answers as the live one did, and that states of another type are not touched.
#include <string>

#include "model/config.h"
#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

constexpr char kQuestion[] = "What stood by the road?";

class StateTypesTest : public ServerTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(StateTypesTest, AStoredStateAnswersAsTheLiveOneDid) {
  options_.state_dtype = GetParam();
  Start();
  const v1::Model model = GetModel();
  EXPECT_EQ(model.state_dtype(), GetParam());
  const auto config = model::Config::Load(options_.model_path);
  ASSERT_TRUE(config.ok()) << config.status();
  // In every layer keys and values of every head; a core token for every group.
  const int64_t row =
      std::string(GetParam()) == "int8" ? config->head_dim + 4 : config->head_dim * 2;
  const auto per_token = static_cast<double>(config->layers * 2 * config->kv_heads * row);
  EXPECT_DOUBLE_EQ(model.full_cache_bytes_per_token(), per_token);
  ASSERT_EQ(config->query_heads, config->kv_heads);
  EXPECT_DOUBLE_EQ(model.state_bytes_per_token(),
                   per_token / static_cast<double>(config->policy.group));

  UploadAndWait("doc", Filler(20'000));
  const Answer live = Ask("doc", kQuestion);
  ASSERT_TRUE(live.status.ok()) << live.status.error_message();
  EXPECT_EQ(live.started.tier(), v1::STATE_TIER_MEMORY);
  const double said =
      static_cast<double>(model.state_bytes_fixed()) +
      model.state_bytes_per_token() * static_cast<double>(Get("doc").token_count() + 1);
  const double stored_bytes = Metric("longleaf_state_bytes{tier=\"disk\"}");
  EXPECT_GE(stored_bytes, 0.98 * said);
  // The window, which is counted, and the beginning of a group besides.
  EXPECT_LE(stored_bytes, 1.02 * said + per_token * static_cast<double>(config->policy.group));

  Restart();
  const Answer stored = Ask("doc", kQuestion);
  ASSERT_TRUE(stored.status.ok()) << stored.status.error_message();
  EXPECT_EQ(stored.started.tier(), v1::STATE_TIER_DISK);
  EXPECT_EQ(stored.started.tokens_prefilled(), stored.finished.usage().question_tokens());
  EXPECT_EQ(stored.text, live.text);
  EXPECT_EQ(GetModel().fingerprint(), model.fingerprint());
}

TEST_P(StateTypesTest, StatesOfAnotherTypeAreReadAgainFromTheText) {
  options_.state_dtype = "f32";
  Start();
  UploadAndWait("doc", Filler(20'000));
  const std::string fingerprint = GetModel().fingerprint();
  Stop();
  options_.state_dtype = GetParam();
  Start();
  EXPECT_NE(GetModel().fingerprint(), fingerprint);
  const Answer answer = Ask("doc", kQuestion);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.started.tier(), v1::STATE_TIER_PREFILL);
  EXPECT_GT(answer.started.tokens_prefilled(), answer.finished.usage().question_tokens());
  EXPECT_EQ(Metric("longleaf_state_rejected_total{reason=\"corrupt\"}"), 0);
  Restart();
  const Answer stored = Ask("doc", kQuestion);
  EXPECT_EQ(stored.started.tier(), v1::STATE_TIER_DISK);
  EXPECT_EQ(stored.text, answer.text);
}

INSTANTIATE_TEST_SUITE_P(All, StateTypesTest, ::testing::Values("bf16", "int8"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace longleaf::service
