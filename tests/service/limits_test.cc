// Every limit on what a request may say: kept at the limit, refused one beyond, with the reason.

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using google::protobuf::Message;

constexpr size_t kMessageLimit = 64 << 10;

class LimitsTest : public ServerTest {
 protected:
  // Sends `bytes` as the request of any rpc, and gives what it ended with.
  grpc::Status Send(const std::string& method, const std::string& bytes) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::GenericStub stub(channel_);
    auto stream = stub.PrepareCall(&context, "/longleaf.v1." + method, &queue);
    const auto wait = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    stream->StartCall(nullptr);
    wait();
    const grpc::Slice slice(bytes);
    stream->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    wait();
    grpc::ByteBuffer response;
    do {
      stream->Read(&response, nullptr);
    } while (wait());
    grpc::Status status;
    stream->Finish(&status, nullptr);
    wait();
    queue.Shutdown();
    wait();
    return status;
  }

  grpc::Status Update(const v1::UpdateDocumentRequest& request) {
    grpc::ClientContext context;
    v1::Document document;
    return documents_->UpdateDocument(&context, request, &document);
  }
  grpc::Status List(const v1::ListDocumentsRequest& request, v1::ListDocumentsResponse* page) {
    grpc::ClientContext context;
    return documents_->ListDocuments(&context, request, page);
  }
  grpc::Status UploadText(const v1::UploadHeader& header) {
    v1::Document document;
    return Upload(header, "The mill stood by the river.", &document);
  }
};

// A valid message of `size` bytes: what a newer client might send, with a field we do not know.
template <typename Request>
std::string OfSize(Request request, size_t size) {
  auto* const unknown = request.GetReflection()->MutableUnknownFields(&request);
  unknown->AddLengthDelimited(1000, std::string(size - request.ByteSizeLong() - 5, 'x'));
  const std::string bytes = request.SerializeAsString();
  EXPECT_EQ(bytes.size(), size);
  return bytes;
}

TEST_F(LimitsTest, EveryMethodHasALimitForItsMessage) {
  Start();
  const std::map<std::string, std::function<std::string(size_t)>> requests = {
      {"DocumentService/QueryUpload", [](size_t n) { return OfSize(v1::QueryUploadRequest(), n); }},
      {"DocumentService/GetDocument", [](size_t n) { return OfSize(v1::GetDocumentRequest(), n); }},
      {"DocumentService/ListDocuments",
       [](size_t n) { return OfSize(v1::ListDocumentsRequest(), n); }},
      {"DocumentService/UpdateDocument",
       [](size_t n) { return OfSize(v1::UpdateDocumentRequest(), n); }},
      {"DocumentService/DeleteDocument",
       [](size_t n) { return OfSize(v1::DeleteDocumentRequest(), n); }},
      {"DocumentService/ReadDocumentText",
       [](size_t n) { return OfSize(v1::ReadDocumentTextRequest(), n); }},
      {"DocumentService/WatchDocument",
       [](size_t n) { return OfSize(v1::WatchDocumentRequest(), n); }},
      {"ModelService/GetModel", [](size_t n) { return OfSize(v1::GetModelRequest(), n); }},
      {"QuestionService/Ask", [](size_t n) { return OfSize(v1::AskRequest(), n); }},
      {"QuestionService/BatchAsk", [](size_t n) { return OfSize(v1::BatchAskRequest(), n); }},
  };
  const auto question_bytes = static_cast<size_t>(options_.max_question_bytes);
  for (const auto& [method, request] : requests) {
    SCOPED_TRACE(method);
    const size_t limit =
        kMessageLimit + (method == "QuestionService/Ask"        ? question_bytes
                         : method == "QuestionService/BatchAsk" ? 16 * question_bytes
                                                                : 0);
    EXPECT_NE(ErrorInfoOf(Send(method, request(limit))).reason(), "MESSAGE_TOO_LARGE");
    const grpc::Status status = Send(method, request(limit + 1));
    EXPECT_ERROR(status, INVALID_ARGUMENT, "MESSAGE_TOO_LARGE");
    EXPECT_EQ(ErrorInfoOf(status).metadata().at("limit"), std::to_string(limit));
  }
}

TEST_F(LimitsTest, AnUploadsMessageHasALimitOfItsOwn) {
  options_.max_upload_message_bytes = 70'000;
  Start();
  v1::UploadDocumentRequest request;
  *request.mutable_header() = Header("a");
  EXPECT_ERROR(Send("DocumentService/UploadDocument", OfSize(request, 70'064)), FAILED_PRECONDITION,
               "UPLOAD_INCOMPLETE");
  EXPECT_ERROR(Send("DocumentService/UploadDocument", OfSize(request, 70'065)), INVALID_ARGUMENT,
               "MESSAGE_TOO_LARGE");
}

TEST_F(LimitsTest, BytesThatAreNoMessageAreTheClientsFault) {
  Start();
  v1::UploadDocumentRequest upload;
  upload.mutable_header()->set_display_name("caf\xc3");  // not UTF-8
  v1::ListDocumentsRequest list;
  list.set_page_token("\xff");
  v1::AskRequest ask;
  ask.set_question("\xed\xa0\x80");
  v1::BatchAskRequest batch;
  batch.add_questions()->set_question("\xff");
  const std::vector<std::pair<std::string, std::string>> calls = {
      {"DocumentService/UploadDocument", upload.SerializeAsString()},
      {"DocumentService/UploadDocument", "\xff\xff"},
      {"DocumentService/QueryUpload", "\x0a\x7f"},
      {"DocumentService/GetDocument", "\x0a\x7f"},
      {"DocumentService/ListDocuments", list.SerializeAsString()},
      {"DocumentService/UpdateDocument", "\x0a\x7f"},
      {"DocumentService/DeleteDocument", "\x0a\x7f"},
      {"DocumentService/ReadDocumentText", "\x0a\x7f"},
      {"DocumentService/WatchDocument", "\x0a\x7f"},
      {"QuestionService/Ask", ask.SerializeAsString()},
      {"QuestionService/BatchAsk", batch.SerializeAsString()},
      {"QuestionService/BatchAsk", "\xff\xff"},
      {"ModelService/GetModel", "\xff"},
  };
  for (const auto& [method, bytes] : calls) {
    SCOPED_TRACE(method);
    EXPECT_ERROR(Send(method, bytes), INVALID_ARGUMENT, "MALFORMED_MESSAGE");
  }
}

TEST_F(LimitsTest, FieldsOfDocuments) {
  Start();
  int next = 0;
  const auto header = [&next] { return Header("d" + std::to_string(next++)); };
  const auto expect = [this](bool good, const v1::UploadHeader& sent) {
    const grpc::Status status = UploadText(sent);
    if (good) {
      EXPECT_TRUE(status.ok()) << status.error_message();
    } else {
      EXPECT_ERROR(status, INVALID_ARGUMENT, "INVALID_FIELD");
    }
  };
  for (const bool good : {true, false}) {
    SCOPED_TRACE(good ? "at the limit" : "one beyond");
    const size_t more = good ? 0 : 1;
    expect(good, Header(std::string(63 + more, 'i')));
    v1::UploadHeader sent = header();
    sent.set_display_name(std::string(512 + more, 'n'));
    expect(good, sent);
    sent = header();
    sent.set_request_id(std::string(64 + more, 'r'));
    expect(good, sent);
    sent = header();
    for (size_t i = 0; i < 64 + more; ++i) {
      (*sent.mutable_labels())[std::to_string(i)] = "x";
    }
    expect(good, sent);
    sent = header();
    (*sent.mutable_labels())[std::string(63 + more, 'k')] = "x";
    expect(good, sent);
    sent = header();
    (*sent.mutable_labels())["x"] = std::string(255 + more, 'v');
    expect(good, sent);
    sent = header();
    sent.mutable_ttl()->set_seconds(31'557'600'000 + static_cast<int64_t>(more));
    expect(good, sent);
  }
}

TEST_F(LimitsTest, FieldsOfOtherCallsOnDocuments) {
  Start();
  ASSERT_TRUE(UploadText(Header("a")).ok());
  v1::UpdateDocumentRequest update;
  update.mutable_document()->set_name("documents/a");
  for (int i = 0; i < 16; ++i) {
    update.mutable_update_mask()->add_paths("display_name");
  }
  EXPECT_TRUE(Update(update).ok());
  update.mutable_update_mask()->add_paths("display_name");
  EXPECT_ERROR(Update(update), INVALID_ARGUMENT, "INVALID_FIELD");
  // A long value is not thrown back whole: clients take 8 KiB of trailers.
  update.mutable_update_mask()->Clear();
  update.mutable_update_mask()->add_paths(std::string(60'000, 'p'));
  const grpc::Status status = Update(update);
  EXPECT_ERROR(status, INVALID_ARGUMENT, "INVALID_FIELD");
  EXPECT_LT(status.error_message().size(), 600u);

  v1::ListDocumentsRequest list;
  v1::ListDocumentsResponse page;
  list.set_page_size(1000);
  EXPECT_TRUE(List(list, &page).ok());
  list.set_page_size(1001);
  EXPECT_ERROR(List(list, &page), INVALID_ARGUMENT, "INVALID_FIELD");
}

TEST_F(LimitsTest, FieldsOfAQuestion) {
  Start();
  UploadAndWait("a", Filler(2000));
  v1::AskRequest good;
  good.set_document("documents/a");
  good.set_question("What stood by the road?");
  good.mutable_sampling()->set_max_tokens(1);
  const std::vector<std::function<void(v1::AskRequest*, int)>> limits = {
      [](v1::AskRequest* r, int more) { r->set_max_evidence(16 + more); },
      [](v1::AskRequest* r, int more) { r->mutable_sampling()->set_logprobs(20 + more); },
      [](v1::AskRequest* r, int more) {
        for (int i = 0; i < 16 + more; ++i) {
          r->mutable_sampling()->add_stop(std::to_string(i));
        }
      },
      [](v1::AskRequest* r, int more) {
        r->mutable_sampling()->add_stop(std::string(static_cast<size_t>(256 + more), 's'));
      },
      [](v1::AskRequest* r, int more) {
        r->mutable_sampling()->set_temperature(100 + static_cast<float>(more));
      },
      [](v1::AskRequest* r, int more) {
        r->mutable_sampling()->set_repetition_penalty(100 + static_cast<float>(more));
      },
  };
  for (size_t i = 0; i < limits.size(); ++i) {
    SCOPED_TRACE(i);
    v1::AskRequest request = good;
    limits[i](&request, 0);
    const grpc::Status kept = Ask(request).status;
    EXPECT_TRUE(kept.ok()) << kept.error_message();
    request = good;
    limits[i](&request, 1);
    EXPECT_ERROR(Ask(request).status, INVALID_ARGUMENT, "INVALID_FIELD");
  }
}

// The prompt file's stop strings take nothing away from the request's.
TEST_F(LimitsTest, StopStringsOfARequestBesideThoseOfThePrompt) {
  const std::filesystem::path model = directory_ + "/model";
  std::filesystem::copy(options_.model_path, model);
  std::filesystem::remove(model / "SHA256SUMS");
  std::ofstream(model / "prompt.json")
      << R"({"version": 1, "preamble": "", "question_prefix": "\nQuestion: ",)"
         R"("question_suffix": "\nAnswer:", "stop": ["###", "\n\n"], "max_answer_tokens": 2})";
  options_.model_path = model;
  Start();
  UploadAndWait("a", Filler(2000));
  v1::AskRequest request;
  request.set_document("documents/a");
  request.set_question("What stood by the road?");
  for (int i = 0; i < 16; ++i) {
    request.mutable_sampling()->add_stop("stop" + std::to_string(i));
  }
  const grpc::Status status = Ask(request).status;
  EXPECT_TRUE(status.ok()) << status.error_message();
  request.mutable_sampling()->add_stop("one more");
  EXPECT_ERROR(Ask(request).status, INVALID_ARGUMENT, "INVALID_FIELD");
}

TEST_F(LimitsTest, BytesOfAQuestion) {
  options_.max_question_bytes = 500;
  Start();
  UploadAndWait("a", Filler(2000));
  EXPECT_TRUE(Ask("a", Filler(500)).status.ok());
  EXPECT_ERROR(Ask("a", Filler(501)).status, INVALID_ARGUMENT, "QUESTION_TOO_LONG");
}

TEST_F(LimitsTest, APageStaysBelowWhatClientsTake) {
  Start();
  constexpr int kDocuments = 70;
  for (int i = 0; i < kDocuments; ++i) {
    v1::UploadDocumentRequest request;
    *request.mutable_header() = Header("d" + std::to_string(i));
    for (int label = 0; label < 64; ++label) {
      (*request.mutable_header()->mutable_labels())[std::to_string(100 + label)] =
          std::string(255, 'v');
    }
    EXPECT_ERROR(Send("DocumentService/UploadDocument", request.SerializeAsString()),
                 FAILED_PRECONDITION, "UPLOAD_INCOMPLETE");
  }
  v1::ListDocumentsRequest list;
  list.set_page_size(1000);
  std::vector<std::string> names;
  int pages = 0;
  do {
    v1::ListDocumentsResponse page;
    ASSERT_TRUE(List(list, &page).ok());
    EXPECT_LT(page.ByteSizeLong(), size_t{5} << 18);
    for (const v1::Document& document : page.documents()) {
      names.push_back(document.name());
    }
    list.set_page_token(page.next_page_token());
    ++pages;
  } while (!list.page_token().empty());
  EXPECT_EQ(pages, 2);
  EXPECT_EQ(names.size(), size_t{kDocuments});
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

TEST_F(LimitsTest, AnOffsetIntoNothingLeavesNothingBehind) {
  Start();
  v1::UploadHeader header = Header("a");
  header.set_request_id("r");
  header.set_write_offset(10);
  EXPECT_ERROR(UploadText(header), INVALID_ARGUMENT, "OFFSET_MISMATCH");
  header.clear_request_id();
  header.clear_document_id();
  EXPECT_ERROR(UploadText(header), INVALID_ARGUMENT, "OFFSET_MISMATCH");
  v1::ListDocumentsResponse page;
  ASSERT_TRUE(List(v1::ListDocumentsRequest(), &page).ok());
  EXPECT_EQ(page.documents_size(), 0);
}

// What is packed has no size that could be limited before it is unpacked.
TEST_F(LimitsTest, CompressedMessagesAreRefused) {
  Start();
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::ListDocumentsRequest request;
  request.set_page_token(std::string(60'000, 'x'));
  v1::ListDocumentsResponse page;
  const grpc::Status status = documents_->ListDocuments(&context, request, &page);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("'gzip' is disabled"));
}

TEST_F(LimitsTest, MetadataIsBoundedByTheTransport) {
  Start();
  for (const size_t bytes : {size_t{8} << 10, size_t{32} << 10}) {
    grpc::ClientContext context;
    context.AddMetadata("x-noise", std::string(bytes, 'x'));
    v1::Model model;
    const grpc::Status status = models_->GetModel(&context, v1::GetModelRequest(), &model);
    EXPECT_EQ(status.error_code(), bytes < (size_t{16} << 10)
                                       ? grpc::StatusCode::OK
                                       : grpc::StatusCode::RESOURCE_EXHAUSTED)
        << status.error_message();
  }
}

}  // namespace
}  // namespace longleaf::service
