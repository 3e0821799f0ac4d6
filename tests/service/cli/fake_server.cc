#include "tests/service/cli/fake_server.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace longleaf::service::cli {
namespace {

grpc::Status NotScripted() { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "not scripted"); }

class FakeDocuments final : public v1::DocumentService::Service {
 public:
  explicit FakeDocuments(FakeServer::Script* script) : script_(script) {}

  grpc::Status UploadDocument(grpc::ServerContext*, FakeUploads::Reader* reader,
                              v1::Document* response) override {
    return script_->uploads.Receive(reader, response);
  }
  grpc::Status QueryUpload(grpc::ServerContext*, const v1::QueryUploadRequest* request,
                           v1::QueryUploadResponse* response) override {
    return script_->uploads.Query(*request, response);
  }
  grpc::Status GetDocument(grpc::ServerContext*, const v1::GetDocumentRequest* request,
                           v1::Document* response) override {
    return script_->get ? script_->get(*request, response) : NotScripted();
  }
  grpc::Status ListDocuments(grpc::ServerContext*, const v1::ListDocumentsRequest* request,
                             v1::ListDocumentsResponse* response) override {
    return script_->list ? script_->list(*request, response) : NotScripted();
  }
  grpc::Status UpdateDocument(grpc::ServerContext*, const v1::UpdateDocumentRequest* request,
                              v1::Document* response) override {
    return script_->update ? script_->update(*request, response) : NotScripted();
  }
  grpc::Status DeleteDocument(grpc::ServerContext*, const v1::DeleteDocumentRequest* request,
                              google::protobuf::Empty*) override {
    return script_->remove ? script_->remove(*request) : NotScripted();
  }
  grpc::Status ReadDocumentText(grpc::ServerContext*, const v1::ReadDocumentTextRequest* request,
                                grpc::ServerWriter<v1::ReadDocumentTextResponse>* writer) override {
    return script_->text ? script_->text(*request, writer) : NotScripted();
  }
  grpc::Status WatchDocument(grpc::ServerContext*, const v1::WatchDocumentRequest* request,
                             grpc::ServerWriter<v1::WatchDocumentResponse>* writer) override {
    return script_->watch ? script_->watch(*request, writer) : NotScripted();
  }

 private:
  FakeServer::Script* const script_;
};

class FakeQuestions final : public v1::QuestionService::Service {
 public:
  explicit FakeQuestions(FakeServer::Script* script) : script_(script) {}
  grpc::Status Ask(grpc::ServerContext* context, const v1::AskRequest* request,
                   grpc::ServerWriter<v1::AskResponse>* writer) override {
    return script_->ask ? script_->ask(*request, context, writer) : NotScripted();
  }
  grpc::Status BatchAsk(grpc::ServerContext* context, const v1::BatchAskRequest* request,
                        grpc::ServerWriter<v1::BatchAskResponse>* writer) override {
    return script_->batch ? script_->batch(*request, context, writer) : NotScripted();
  }

 private:
  FakeServer::Script* const script_;
};

class FakeModel final : public v1::ModelService::Service {
 public:
  explicit FakeModel(FakeServer::Script* script) : script_(script) {}
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::Model* response) override {
    return script_->model ? script_->model(response) : NotScripted();
  }

 private:
  FakeServer::Script* const script_;
};

}  // namespace

grpc::Status RichStatus(grpc::StatusCode code, const std::string& message,
                        const std::string& reason, double retry_seconds) {
  google::rpc::Status rich;
  rich.set_code(code);
  rich.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("longleaf");
  rich.add_details()->PackFrom(info);
  if (retry_seconds >= 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(static_cast<int64_t>(retry_seconds));
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(std::fmod(retry_seconds, 1.0) * 1e9));
    rich.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, message, rich.SerializeAsString());
}

grpc::Status FakeUploads::Receive(Reader* reader, v1::Document* response) {
  v1::UploadDocumentRequest message;
  if (!reader->Read(&message) || !message.has_header()) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no header");
  }
  const v1::UploadHeader header = message.header();
  const std::string name = "documents/" + header.document_id();
  size_t stream = 0;
  {
    const std::lock_guard lock(mutex_);
    stream = headers_.size();
    headers_.push_back(header);
    Upload& upload = uploads_[name];
    if (upload.complete) {
      if (upload.header.request_id() != header.request_id()) {
        return RichStatus(grpc::StatusCode::ALREADY_EXISTS, "already there",
                          "DOCUMENT_ALREADY_EXISTS");
      }
      response->set_name(name);
      return grpc::Status::OK;
    }
    if (header.write_offset() != static_cast<int64_t>(upload.text.size())) {
      return RichStatus(grpc::StatusCode::INVALID_ARGUMENT, "wrong offset", "OFFSET_MISMATCH");
    }
    upload.header = header;
  }
  if (on_header) {
    on_header();
  }
  bool finished = message.finish_write();
  while (!finished && reader->Read(&message)) {
    size_t size = 0;
    {
      const std::lock_guard lock(mutex_);
      Upload& upload = uploads_[name];
      upload.text += message.chunk();
      size = upload.text.size();
      longest_message_ = std::max(longest_message_, message.chunk().size());
      if (stream < breaks.size() && size >= breaks[stream].after_bytes) {
        upload.text.resize(breaks[stream].keep);
        return breaks[stream].status;
      }
    }
    if (on_bytes) {
      on_bytes(size);
    }
    finished = message.finish_write();
  }
  const std::lock_guard lock(mutex_);
  Upload& upload = uploads_[name];
  if (!finished) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the stream ended early");
  }
  if (header.total_bytes() > 0 &&
      header.total_bytes() != static_cast<int64_t>(upload.text.size())) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "wrong total");
  }
  upload.complete = true;
  response->set_name(name);
  response->set_display_name(header.display_name());
  response->set_state(v1::DOCUMENT_STATE_QUEUED);
  response->set_text_bytes(static_cast<int64_t>(upload.text.size()));
  return grpc::Status::OK;
}

grpc::Status FakeUploads::Query(const v1::QueryUploadRequest& request,
                                v1::QueryUploadResponse* response) {
  const std::lock_guard lock(mutex_);
  const auto upload = uploads_.find(request.name());
  if (upload == uploads_.end()) {
    return RichStatus(grpc::StatusCode::NOT_FOUND, "no such upload", "DOCUMENT_NOT_FOUND");
  }
  response->set_committed_bytes(static_cast<int64_t>(upload->second.text.size()));
  response->set_complete(upload->second.complete);
  return grpc::Status::OK;
}

FakeUploads::Upload FakeUploads::Get(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return uploads_[name];
}

std::vector<v1::UploadHeader> FakeUploads::headers() {
  const std::lock_guard lock(mutex_);
  return headers_;
}

size_t FakeUploads::longest_message() {
  const std::lock_guard lock(mutex_);
  return longest_message_;
}

FakeServer::FakeServer(Script* script, int port) {
  services_.push_back(std::make_unique<FakeDocuments>(script));
  services_.push_back(std::make_unique<FakeQuestions>(script));
  services_.push_back(std::make_unique<FakeModel>(script));
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(),
                           &port_);
  for (const std::unique_ptr<grpc::Service>& service : services_) {
    builder.RegisterService(service.get());
  }
  server_ = builder.BuildAndStart();
  EXPECT_NE(server_, nullptr);
  EXPECT_NE(port_, 0);
}

FakeServer::~FakeServer() { Stop(); }

void FakeServer::Stop() {
  if (server_ != nullptr) {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }
}

}  // namespace longleaf::service::cli
