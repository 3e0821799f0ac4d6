// longleaf-eval verify-store through the real binary, on a store with a state of the demo model.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cache_store/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/reference.h"
#include "model/fingerprint.h"
#include "model/prompt.h"
#include "model/tokenizer.h"
#include "model/transformer.h"
#include "nlohmann/json.hpp"
#include "program.h"
#include "service/state/stored_state.h"

namespace longleaf::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kDemo[] = "model/demo";

class VerifyStoreTest : public ::testing::Test {
 protected:
  VerifyStoreTest()
      : path_(absl::StrCat(::testing::TempDir(), "longleaf_verify_store_", ::getpid())) {
    std::filesystem::remove_all(path_);
  }
  ~VerifyStoreTest() override { std::filesystem::remove_all(path_); }

  // A document with its state; an empty meta: the right one.
  void Fill(const std::string& meta, const model::TransformerOptions& model_options = {}) {
    store::StoreOptions options;
    options.path = path_;
    options.min_free_bytes = 0;
    auto store = store::Store::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store::DocumentRecord wanted;
    wanted.id = "book";
    ASSERT_TRUE((*store)->CreateDocument("t", wanted, {}).ok());
    store::UploadPart part;
    part.text = text_;
    ASSERT_TRUE((*store)->AppendUpload("t", "book", part).ok());
    ASSERT_TRUE((*store)
                    ->FinalizeUpload("t", "book", static_cast<int64_t>(text_.size()),
                                     store::DocumentState::kActive)
                    .ok());

    kernels::ReferenceBackend backend(64 << 20);
    auto model = model::Transformer::Load(kDemo, &backend, model_options);
    ASSERT_TRUE(model.ok()) << model.status();
    auto state = (*model)->NewState();
    const std::vector<int32_t> tokens = {1, 5, 9, 13};
    const model::ForwardItem item = {.state = state->get(), .tokens = tokens, .outputs = 0};
    ASSERT_TRUE((*model)->Forward({&item, 1}).ok());
    const model::Config& config = (*model)->config();
    auto tokenizer = model::Tokenizer::Load(
        kDemo,
        {.bos_id = config.bos_id, .eos_ids = config.eos_ids, .model_vocab_size = config.vocab});
    auto prompt = model::Prompt::Create(*model::PromptFile::Load(kDemo), tokenizer->get());
    auto layout = model::SnapshotLayout::For((*model)->shape(), 4);
    ASSERT_TRUE(layout.ok()) << layout.status();
    store::CommitSpec commit;
    commit.key.tenant = "t";
    commit.key.fingerprint =
        model::ComputeFingerprint({.weights = model::DigestWeights((*model)->weight_files()),
                                   .tokenizer = (*tokenizer)->digest(),
                                   .prompt = prompt->digest(),
                                   .config = config.Canonical(),
                                   .policy = (*model)->policy(),
                                   .weight_format = model_options.weights,
                                   .state_dtype = model_options.state_dtype});
    commit.key.token_count = 4;
    commit.key.digest = store::DigestTokens(tokens);
    commit.meta = meta.empty() ? layout->Meta() : meta;
    commit.document_id = "book";
    const auto written = service::WriteState(**store, backend, **state, *layout, commit);
    ASSERT_TRUE(written.ok()) << written.status();
  }

  // Changes a byte of the one file that holds `part`, in a file whose name ends so.
  void Flip(const std::string& part, const std::string& suffix) {
    int flipped = 0;
    for (const auto& file : std::filesystem::directory_iterator(path_)) {
      if (!file.path().string().ends_with(suffix)) continue;
      std::ifstream in(file.path(), std::ios::binary);
      std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
      const size_t at = bytes.find(part);
      if (at == std::string::npos) continue;
      bytes[at] ^= 1;
      std::ofstream(file.path(), std::ios::binary | std::ios::trunc) << bytes;
      ++flipped;
    }
    ASSERT_EQ(flipped, 1);
  }

  ProgramResult Verify(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"verify-store", "--store", path_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunEval(arguments);
  }

  // Looks into the states of f32 that Fill makes.
  ProgramResult VerifyModel(std::vector<std::string> more = {}) {
    for (const char* flag : {"--model", kDemo, "--weights", "f32", "--state-dtype", "f32"}) {
      more.push_back(flag);
    }
    return Verify(std::move(more));
  }

  const std::string path_;
  const std::string text_ = std::string(3000, 'a') + "Aunt Martha's recipe" + std::string(900, 'b');
};

TEST_F(VerifyStoreTest, AWholeStore) {
  const ProgramResult none = Verify();
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("there is no store at " + path_));
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_NO_FATAL_FAILURE(Fill(""));
  const ProgramResult text = Verify();
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("1 documents, 1 snapshots, 0 damaged, 0 orphans"));
  const ProgramResult json = VerifyModel({"--json"});
  EXPECT_EQ(json.exit_code, 0) << json.err;
  const auto report = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << json.out;
  EXPECT_EQ(report["damage"], 0);
  EXPECT_EQ(report["snapshots_of_this_model"], 1);
  EXPECT_EQ(report["snapshots_of_other_models"], 0);
  EXPECT_EQ(report["checked"]["text"]["rows"], 1);
  EXPECT_GT(report["checked"]["segments"]["bytes"], 1000);
  // Under another policy it is another model's.
  const ProgramResult other = VerifyModel({"--attention", "full"});
  EXPECT_THAT(other.out, HasSubstr("0 snapshots of this model, 1 of others"));
}

TEST_F(VerifyStoreTest, OfAServerWithOtherTypes) {
  ASSERT_NO_FATAL_FAILURE(Fill("", {.max_step_tokens = 16,
                                    .weights = kernels::WeightFormat::kI8,
                                    .state_dtype = kernels::DType::kI8}));
  const std::vector<std::string> right = {"--model", kDemo,       "--state-dtype",
                                          "int8",    "--weights", "int8"};
  EXPECT_THAT(Verify(right).out, HasSubstr("1 snapshots of this model, 0 of others"));
  for (const size_t field : {size_t{3}, size_t{5}}) {
    std::vector<std::string> wrong = right;
    wrong[field] = "f32";
    EXPECT_THAT(Verify(wrong).out, HasSubstr("0 snapshots of this model, 1 of others"));
  }
}

TEST_F(VerifyStoreTest, AWrongByteOfText) {
  ASSERT_NO_FATAL_FAILURE(Fill(""));
  Flip("Aunt Martha", ".log");
  const ProgramResult result = Verify();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("damage: "));
  EXPECT_THAT(result.err, HasSubstr(path_ + " is damaged in "));
}

TEST_F(VerifyStoreTest, AMetaThatTheModelCannotRead) {
  ASSERT_NO_FATAL_FAILURE(Fill("not a meta"));
  EXPECT_EQ(Verify().exit_code, 0);
  const ProgramResult result = VerifyModel();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("damage: snapshot of 4 tokens"));
}

}  // namespace
}  // namespace longleaf::testing
