// The contract over the wire: listing, changing, reading back, expiry, and what Ask refuses.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model/config.h"
#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using ContractTest = ServerTest;

TEST_F(ContractTest, DocumentsAreListedInPagesUpdatedAndDeleted) {
  Start();
  v1::Document document;
  for (const char* id : {"c", "a", "e", "b", "d"}) {
    ASSERT_TRUE(Upload(Header(id), "text of a document", &document).ok());
  }
  std::vector<std::string> names;
  std::string token;
  do {
    grpc::ClientContext context;
    v1::ListDocumentsRequest request;
    request.set_page_size(2);
    request.set_page_token(token);
    v1::ListDocumentsResponse page;
    ASSERT_TRUE(documents_->ListDocuments(&context, request, &page).ok());
    EXPECT_LE(page.documents_size(), 2);
    for (const auto& listed : page.documents()) {
      names.push_back(listed.name());
    }
    token = page.next_page_token();
  } while (!token.empty());
  EXPECT_THAT(names, ::testing::ElementsAre("documents/a", "documents/b", "documents/c",
                                            "documents/d", "documents/e"));
  {
    grpc::ClientContext context;
    v1::ListDocumentsRequest request;
    request.set_page_token("nonsense");
    v1::ListDocumentsResponse page;
    EXPECT_ERROR(documents_->ListDocuments(&context, request, &page), INVALID_ARGUMENT,
                 "INVALID_FIELD");
  }
  {
    grpc::ClientContext context;
    v1::UpdateDocumentRequest request;
    request.mutable_document()->set_name("documents/a");
    request.mutable_document()->set_display_name("Annual report");
    (*request.mutable_document()->mutable_labels())["year"] = "1911";
    request.mutable_update_mask()->add_paths("display_name");
    request.mutable_update_mask()->add_paths("labels");
    ASSERT_TRUE(documents_->UpdateDocument(&context, request, &document).ok());
    EXPECT_EQ(Get("a").display_name(), "Annual report");
    EXPECT_EQ(Get("a").labels().at("year"), "1911");
  }
  {
    grpc::ClientContext context;
    v1::UpdateDocumentRequest request;
    request.mutable_document()->set_name("documents/a");
    request.mutable_document()->set_etag("stale");
    request.mutable_update_mask()->add_paths("display_name");
    EXPECT_ERROR(documents_->UpdateDocument(&context, request, &document), ABORTED,
                 "ETAG_MISMATCH");
  }
  {
    grpc::ClientContext context;
    v1::DeleteDocumentRequest request;
    request.set_name("documents/a");
    google::protobuf::Empty empty;
    ASSERT_TRUE(documents_->DeleteDocument(&context, request, &empty).ok());
    grpc::ClientContext again;
    EXPECT_ERROR(documents_->DeleteDocument(&again, request, &empty), NOT_FOUND,
                 "DOCUMENT_NOT_FOUND");
  }
  EXPECT_ERROR(Ask("a", "What?").status, NOT_FOUND, "DOCUMENT_NOT_FOUND");
}

TEST_F(ContractTest, TextComesBackAsItWas) {
  Start();
  const std::string text = Filler(40'000) + "\n\ncaf\xc3\xa9 \xe2\x80\x94 end";
  v1::Document document;
  ASSERT_TRUE(Upload(Header("text"), text, &document, 999).ok());
  const auto read = [this](int64_t offset, int64_t limit, std::string* out) {
    grpc::ClientContext context;
    v1::ReadDocumentTextRequest request;
    request.set_name("documents/text");
    request.set_offset(offset);
    request.set_limit(limit);
    auto reader = documents_->ReadDocumentText(&context, request);
    v1::ReadDocumentTextResponse piece;
    out->clear();
    while (reader->Read(&piece)) {
      *out += piece.chunk();
    }
    return reader->Finish();
  };
  std::string got;
  ASSERT_TRUE(read(0, 0, &got).ok());
  EXPECT_EQ(got, text);
  ASSERT_TRUE(read(100, 50, &got).ok());
  EXPECT_EQ(got, text.substr(100, 50));
  EXPECT_ERROR(read(static_cast<int64_t>(text.size()) + 1, 0, &got), INVALID_ARGUMENT,
               "INVALID_FIELD");
  EXPECT_ERROR(read(-1, 0, &got), INVALID_ARGUMENT, "INVALID_FIELD");
}

TEST_F(ContractTest, DamagedTextIsDataLossAndNothingElse) {
  Start();
  const std::string text = Filler(40'000);
  UploadAndWait("doc", text);
  Restart();  // the text moves from the log to a table
  Stop();
  const std::string phrase = text.substr(30'000, 60);
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options_.store_path)) {
    if (entry.path().extension() != ".sst") {
      continue;
    }
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const size_t at = bytes.find(phrase);
    if (at != std::string::npos) {
      file.clear();
      file.seekp(static_cast<std::streamoff>(at));
      file.put('#');
      ++damaged;
    }
  }
  ASSERT_EQ(damaged, 1);
  Start();
  grpc::ClientContext context;
  v1::ReadDocumentTextRequest request;
  request.set_name("documents/doc");
  auto reader = documents_->ReadDocumentText(&context, request);
  v1::ReadDocumentTextResponse piece;
  while (reader->Read(&piece)) {
    EXPECT_EQ(piece.chunk().find('#'), std::string::npos);
  }
  EXPECT_ERROR(reader->Finish(), DATA_LOSS, "TEXT_DAMAGED");
  // Tokens and state are whole: questions are answered.
  EXPECT_TRUE(Ask("doc", "What stood by the road?").status.ok());
}

TEST_F(ContractTest, ADocumentExpires) {
  Start();
  v1::Document document;
  // Long enough for its upload, which on a slow machine may take a second trial.
  int64_t seconds = 0;
  std::string id;
  ASSERT_TRUE(Eventually([&] {
    id = "brief-" + std::to_string(seconds);
    v1::UploadHeader header = Header(id);
    header.mutable_ttl()->set_seconds(seconds);
    header.mutable_ttl()->set_nanos(400'000'000);
    seconds = 4 * seconds + 1;
    return Upload(header, "text of a document", &document).ok();
  }));
  grpc::Status status;
  EXPECT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    v1::GetDocumentRequest request;
    request.set_name("documents/" + id);
    status = documents_->GetDocument(&context, request, &document);
    return !status.ok();
  }));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ContractTest, AskChecksItsFields) {
  Start();
  UploadAndWait("doc", Filler(2000));
  v1::AskRequest good;
  good.set_document("documents/doc");
  good.set_question("What stood by the road?");

  v1::AskRequest request = good;
  request.set_document("doc");
  EXPECT_ERROR(Ask(request).status, INVALID_ARGUMENT, "INVALID_FIELD");
  request = good;
  request.clear_question();
  EXPECT_ERROR(Ask(request).status, INVALID_ARGUMENT, "INVALID_FIELD");
  request = good;
  request.set_max_evidence(17);
  EXPECT_ERROR(Ask(request).status, INVALID_ARGUMENT, "INVALID_FIELD");
  request = good;
  request.set_question(Filler(70'000));
  EXPECT_ERROR(Ask(request).status, INVALID_ARGUMENT, "QUESTION_TOO_LONG");

  const std::vector<std::function<void(v1::Sampling*)>> bad = {
      [](v1::Sampling* s) { s->set_temperature(-1); },
      [](v1::Sampling* s) { s->set_temperature(std::numeric_limits<float>::quiet_NaN()); },
      [](v1::Sampling* s) { s->set_top_p(0); },
      [](v1::Sampling* s) { s->set_top_p(1.5f); },
      [](v1::Sampling* s) { s->set_min_p(1); },
      [](v1::Sampling* s) { s->set_top_k(-1); },
      [](v1::Sampling* s) { s->set_repetition_penalty(0); },
      [](v1::Sampling* s) { s->set_max_tokens(0); },
      [](v1::Sampling* s) { s->set_logprobs(21); },
      [](v1::Sampling* s) { s->add_stop(""); },
      [](v1::Sampling* s) { s->add_stop(std::string(300, 'x')); },
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    SCOPED_TRACE(i);
    request = good;
    bad[i](request.mutable_sampling());
    const grpc::Status status = Ask(request).status;
    EXPECT_ERROR(status, INVALID_ARGUMENT, "INVALID_FIELD");
    google::rpc::BadRequest violations;
    ASSERT_TRUE(HasDetail(status, &violations));
    EXPECT_THAT(violations.field_violations(0).field(), ::testing::StartsWith("sampling."));
  }
  EXPECT_TRUE(Ask(good).status.ok());
}

TEST_F(ContractTest, SamplingIsReproducibleBySeed) {
  Start();
  UploadAndWait("doc", Filler(3000));
  v1::AskRequest request;
  request.set_document("documents/doc");
  request.set_question("Where did they go?");
  request.mutable_sampling()->set_temperature(100);
  request.mutable_sampling()->set_seed(42);
  request.mutable_sampling()->set_logprobs(3);
  const Answer first = Ask(request);
  const Answer second = Ask(request);
  ASSERT_TRUE(first.status.ok());
  EXPECT_EQ(first.text, second.text);
  EXPECT_EQ(first.finished.seed(), 42u);
  ASSERT_FALSE(first.logprobs.empty());
  for (const auto& token : first.logprobs) {
    EXPECT_LE(token.chosen().logprob(), 0);
    EXPECT_EQ(token.top_size(), 3);
    EXPECT_GE(token.top(0).logprob(), token.top(1).logprob());
  }
  bool differs = false;
  for (uint64_t seed = 1; seed < 8 && !differs; ++seed) {
    request.mutable_sampling()->set_seed(seed);
    differs = Ask(request).text != first.text;
  }
  EXPECT_TRUE(differs);
}

TEST_F(ContractTest, ModelSaysWhatADocumentCosts) {
  Start();
  const v1::Model model = GetModel();
  const auto config = model::Config::Load(options_.model_path);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(model.context_length(), config->context);
  EXPECT_EQ(model.attention(), config->policy.ToString());
  EXPECT_FALSE(model.attention_overridden());
  // In every layer keys and values of every head, f32; a core token for every group.
  const auto per_token = static_cast<double>(config->layers * 2 * config->kv_heads *
                                             config->head_dim * int64_t{sizeof(float)});
  EXPECT_DOUBLE_EQ(model.full_cache_bytes_per_token(), per_token);
  ASSERT_EQ(config->query_heads, config->kv_heads);
  EXPECT_DOUBLE_EQ(model.state_bytes_per_token(),
                   per_token / static_cast<double>(config->policy.group));
  EXPECT_EQ(model.fingerprint().size(), 64u);
}

}  // namespace
}  // namespace longleaf::service
