#include "tests/soak/calls.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace longleaf::soak {
namespace {

constexpr std::chrono::seconds kDeadline(120);

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
}

google::rpc::ErrorInfo InfoOf(const grpc::Status& status) {
  google::rpc::Status message;
  google::rpc::ErrorInfo info;
  if (message.ParseFromString(status.error_details())) {
    for (const auto& any : message.details()) {
      if (any.UnpackTo(&info)) {
        return info;
      }
    }
  }
  return {};
}

}  // namespace

Calls::Calls(const std::string& address) {
  static std::atomic<int> next{0};
  grpc::ChannelArguments arguments;
  arguments.SetInt("longleaf.soak", next++);  // no connection shared with another channel
  channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  documents_ = v1::DocumentService::NewStub(channel_);
  questions_ = v1::QuestionService::NewStub(channel_);
}

grpc::Status Calls::Upload(const UploadSpec& spec, v1::Document* document) {
  grpc::ClientContext context;
  SetDeadline(context);
  auto writer = documents_->UploadDocument(&context, document);
  v1::UploadDocumentRequest request;
  *request.mutable_header() = spec.header;
  if (spec.end == UploadEnd::kTotalBytes) {
    request.mutable_header()->set_total_bytes(static_cast<int64_t>(spec.text.size()));
  }
  bool open = writer->Write(request);
  const bool whole = spec.end == UploadEnd::kFinish || spec.end == UploadEnd::kTotalBytes;
  const size_t end = whole ? spec.text.size() : std::min(spec.stop_at, spec.text.size());
  for (size_t at = static_cast<size_t>(spec.header.write_offset()); open && at < end;) {
    const size_t bytes = std::min(spec.message_bytes, end - at);
    request.set_chunk(spec.text.data() + at, bytes);
    at += bytes;
    request.set_finish_write(spec.end == UploadEnd::kFinish && at == end && at % 2 == 0);
    open = writer->Write(request);
    if (request.finish_write()) {
      writer->WritesDone();
      return writer->Finish();
    }
  }
  if (open && spec.end == UploadEnd::kFinish) {
    request.Clear();
    request.set_finish_write(true);
    writer->Write(request);
  }
  if (spec.end == UploadEnd::kBrokenOff) {
    if (spec.before_breaking) {
      spec.before_breaking();
    }
    context.TryCancel();
  } else {
    writer->WritesDone();
  }
  return writer->Finish();
}

grpc::Status Calls::Query(const std::string& id, v1::QueryUploadResponse* response) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::QueryUploadRequest request;
  request.set_name("documents/" + id);
  return documents_->QueryUpload(&context, request, response);
}

grpc::Status Calls::Get(const std::string& id, v1::Document* document) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetDocumentRequest request;
  request.set_name("documents/" + id);
  return documents_->GetDocument(&context, request, document);
}

grpc::Status Calls::List(int32_t page_size, const std::string& page_token,
                         v1::ListDocumentsResponse* response) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ListDocumentsRequest request;
  request.set_page_size(page_size);
  request.set_page_token(page_token);
  return documents_->ListDocuments(&context, request, response);
}

grpc::Status Calls::Update(const v1::UpdateDocumentRequest& request, v1::Document* document) {
  grpc::ClientContext context;
  SetDeadline(context);
  return documents_->UpdateDocument(&context, request, document);
}

grpc::Status Calls::Delete(const std::string& id) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::DeleteDocumentRequest request;
  request.set_name("documents/" + id);
  google::protobuf::Empty response;
  return documents_->DeleteDocument(&context, request, &response);
}

grpc::Status Calls::ReadText(const std::string& id, int64_t offset, int64_t limit,
                             std::string* text) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ReadDocumentTextRequest request;
  request.set_name("documents/" + id);
  request.set_offset(offset);
  request.set_limit(limit);
  auto reader = documents_->ReadDocumentText(&context, request);
  v1::ReadDocumentTextResponse piece;
  text->clear();
  while (reader->Read(&piece)) {
    text->append(piece.chunk());
  }
  return reader->Finish();
}

grpc::Status Calls::Watch(const std::string& id, WatchResult* result) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::WatchDocumentRequest request;
  request.set_name("documents/" + id);
  auto reader = documents_->WatchDocument(&context, request);
  v1::WatchDocumentResponse next;
  while (reader->Read(&next)) {
    result->went_back |= next.progress().tokens_done() < result->last.progress().tokens_done();
    result->last = next;
    ++result->messages;
  }
  return reader->Finish();
}

grpc::Status Calls::Ask(const AskSpec& spec, AskResult* result) {
  grpc::ClientContext context;
  if (spec.deadline_ms > 0) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(spec.deadline_ms));
  } else {
    SetDeadline(context);
  }
  auto reader = questions_->Ask(&context, spec.request);
  if (spec.meanwhile) {
    spec.meanwhile();
  }
  v1::AskResponse event;
  for (int64_t events = 0;; ++events) {
    if (events == spec.cancel_after) {
      context.TryCancel();
    }
    if (!reader->Read(&event)) {
      break;
    }
    result->out_of_order |= result->has_finished;
    switch (event.event_case()) {
      case v1::AskResponse::kProgress:
        result->out_of_order |= result->has_started;
        break;
      case v1::AskResponse::kStarted:
        result->out_of_order |= result->has_started;
        result->has_started = true;
        result->started = event.started();
        break;
      case v1::AskResponse::kText:
        result->out_of_order |= !result->has_started;
        result->text += event.text().text();
        for (const auto& token : event.text().logprobs()) {
          result->tokens.push_back(token.chosen().token());
          result->margins.push_back(
              token.top_size() < 2 ? 0 : token.top(0).logprob() - token.top(1).logprob());
        }
        break;
      case v1::AskResponse::kFinished:
        result->out_of_order |= !result->has_started;
        result->has_finished = true;
        result->finished = event.finished();
        break;
      case v1::AskResponse::EVENT_NOT_SET:
        result->out_of_order = true;
    }
  }
  return reader->Finish();
}

std::string ReasonOf(const grpc::Status& status) { return InfoOf(status).reason(); }

std::string MetadataOf(const grpc::Status& status, const std::string& key) {
  const google::rpc::ErrorInfo info = InfoOf(status);
  const auto it = info.metadata().find(key);
  return it == info.metadata().end() ? "" : it->second;
}

std::string Describe(const grpc::Status& status) {
  return "code " + std::to_string(status.error_code()) + " " + ReasonOf(status) + ": " +
         status.error_message();
}

}  // namespace longleaf::soak
