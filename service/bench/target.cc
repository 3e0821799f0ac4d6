#include "service/bench/target.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "service/cli/channel.h"
#include "service/cli/status_text.h"
#include "service/version.h"

namespace longleaf::service::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kChunkBytes = 256 << 10;
constexpr int kShortCallSeconds = 30;
constexpr int kWatchSeconds = 1;  // a longer silence is looked at again, for the sake of Ctrl-C
constexpr int64_t kTimeToLiveSeconds = 24 * 3600;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void SetDeadline(grpc::ClientContext* context, int seconds) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  // gRPC would give all channels to one address the same connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetUserAgentPrefix(absl::StrCat("longleaf-bench/", kVersion));
  return grpc::CreateCustomChannel(cli::Target(address), grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Target>> Target::Open(const TargetOptions& options) {
  auto target = std::unique_ptr<Target>(new Target(options));
  for (int64_t i = 0; i < options.connections; ++i) {
    const std::shared_ptr<grpc::Channel> channel = Connect(options.address);
    target->questions_.push_back(v1::QuestionService::NewStub(channel));
    if (i > 0) {
      continue;
    }
    target->documents_ = v1::DocumentService::NewStub(channel);
    grpc::ClientContext context;
    SetDeadline(&context, kShortCallSeconds);
    const grpc::Status status =
        v1::ModelService::NewStub(channel)->GetModel(&context, {}, &target->model_);
    if (!status.ok()) {
      return target->Explain(status);
    }
  }
  return target;
}

absl::Status Target::Explain(const grpc::Status& status) const {
  if (status.ok()) {
    return absl::OkStatus();
  }
  const std::string line = cli::ErrorLine(cli::DecodeFailure(status), options_.address);
  absl::string_view text = line;
  absl::ConsumePrefix(&text, "longleaf: ");
  absl::ConsumeSuffix(&text, "\n");
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), text);
}

absl::StatusOr<UploadedDocument> Target::Upload(const std::string& id, const std::string& text,
                                                const PrefillProgress& progress) {
  const Clock::time_point begin = Clock::now();
  grpc::ClientContext context;
  v1::Document document;
  const auto writer = documents_->UploadDocument(&context, &document);
  v1::UploadDocumentRequest request;
  v1::UploadHeader& header = *request.mutable_header();
  header.set_document_id(id);
  header.set_display_name("longleaf-bench");
  header.mutable_ttl()->set_seconds(kTimeToLiveSeconds);
  header.set_total_bytes(static_cast<int64_t>(text.size()));
  bool open = writer->Write(request);
  for (size_t at = 0; open && at < text.size(); at += kChunkBytes) {
    if (options_.interrupted()) {
      context.TryCancel();
    }
    request.set_chunk(text.substr(at, kChunkBytes));
    request.set_finish_write(at + kChunkBytes >= text.size());
    open = writer->Write(request);
  }
  writer->WritesDone();
  if (const grpc::Status status = writer->Finish(); !status.ok()) {
    return Explain(status);
  }
  if (absl::Status status = WaitUntilActive(document.name(), progress); !status.ok()) {
    return status;
  }
  const double seconds = SecondsSince(begin);
  auto found = Find(document.name(), progress);
  if (found.ok()) {
    found->seconds = seconds;
  }
  return found;
}

absl::StatusOr<UploadedDocument> Target::Find(const std::string& name,
                                              const PrefillProgress& progress) {
  const std::string full = absl::StartsWith(name, "documents/") ? name : "documents/" + name;
  if (absl::Status status = WaitUntilActive(full, progress); !status.ok()) {
    return status;
  }
  grpc::ClientContext context;
  SetDeadline(&context, kShortCallSeconds);
  v1::GetDocumentRequest request;
  request.set_name(full);
  v1::Document document;
  if (const grpc::Status status = documents_->GetDocument(&context, request, &document);
      !status.ok()) {
    return Explain(status);
  }
  return UploadedDocument{
      .name = document.name(), .tokens = document.token_count(), .bytes = document.text_bytes()};
}

absl::Status Target::WaitUntilActive(const std::string& name, const PrefillProgress& progress) {
  v1::WatchDocumentRequest request;
  request.set_name(name);
  for (;;) {
    grpc::ClientContext context;
    SetDeadline(&context, kWatchSeconds);
    const auto reader = documents_->WatchDocument(&context, request);
    v1::WatchDocumentResponse event;
    while (reader->Read(&event)) {
      if (progress) {
        progress(event.progress().tokens_done(), event.progress().tokens_total());
      }
    }
    const grpc::Status status = reader->Finish();
    if (options_.interrupted()) {
      return absl::CancelledError("interrupted");
    }
    if (event.state() == v1::DOCUMENT_STATE_ACTIVE) {
      return absl::OkStatus();
    }
    if (event.state() == v1::DOCUMENT_STATE_FAILED) {
      return absl::FailedPreconditionError(absl::StrCat(name, " failed: ", event.failure()));
    }
    if (!status.ok() && status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
      return Explain(status);
    }
  }
}

absl::Status Target::Delete(const std::string& name) {
  grpc::ClientContext context;
  SetDeadline(&context, kShortCallSeconds);
  v1::DeleteDocumentRequest request;
  request.set_name(name);
  google::protobuf::Empty response;
  return Explain(documents_->DeleteDocument(&context, request, &response));
}

}  // namespace longleaf::service::bench
