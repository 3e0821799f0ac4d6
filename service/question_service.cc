#include "service/question_service.h"

#include <grpc/support/time.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/document_messages.h"
#include "service/question_messages.h"
#include "service/sampling_request.h"
#include "service/time_conversion.h"
#include "service/write_call.h"

namespace longleaf::service {
namespace {

constexpr int64_t kMaxEvidence = 16;
constexpr int64_t kMaxEvidenceText = 512;

// `text` without the broken characters that cutting it anywhere leaves at its ends.
std::string WholeCharacters(std::string text) {
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  size_t begin = 0;
  while (begin < text.size() && continues(text[begin])) {
    ++begin;
  }
  text.erase(0, begin);
  size_t last = text.size();
  while (last > 0 && continues(text[last - 1])) {
    --last;
  }
  if (last > 0) {
    const auto lead = static_cast<unsigned char>(text[last - 1]);
    const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (last - 1 + length > text.size()) {
      text.resize(last - 1);
    }
  }
  return text;
}

// Until the client's deadline. From gRPC's own time: as a time_point a deadline in some centuries
// overflows and lies in the past.
std::chrono::steady_clock::duration TimeLeft(const grpc::CallbackServerContext& call) {
  const gpr_timespec left = gpr_convert_clock_type(call.raw_deadline(), GPR_TIMESPAN);
  constexpr int64_t kLongest = int64_t{1} << 32;
  return std::chrono::seconds(std::clamp<int64_t>(left.tv_sec, -1, kLongest)) +
         std::chrono::nanoseconds(left.tv_nsec);
}

class AskCall final : public WriteCall<AskCall, v1::AskResponse> {
 public:
  AskCall(CallContext* context, grpc::CallbackServerContext* call, const grpc::ByteBuffer* request)
      : WriteCall(call, std::chrono::seconds(context->options->stream_idle_seconds)),
        context_(context),
        parsed_(ParseRequest(request, context->options->max_question_bytes + kMaxRequestBytes,
                             &request_)),
        stream_(std::make_shared<AnswerStream>()) {
    // The deadline counts from here: what waits in the executor's queue is waiting, too.
    deadline_ = arrival_ +
                std::min<std::chrono::steady_clock::duration>(
                    std::chrono::seconds(context->options->max_question_seconds), TimeLeft(*call));
  }

 private:
  void Begin() override {
    const absl::Status admitted =
        !parsed_.ok() ? parsed_ : Admit(context_, context_->executor, [self = shared_from_this()] {
          if (const absl::Status status = self->Submit(); !status.ok()) {
            self->End(status);
          }
        });
    if (!admitted.ok()) {
      End(admitted);
    }
  }
  void OnSent() override {
    context_->delivery->Run([self = shared_from_this()] { self->Pump(/*after_write=*/true); });
  }
  void OnGone() override { stream_->Cancel(); }
  void OnEnded() override { stream_->Cancel(); }

  // Everything that can be said about a request before the engine sees it.
  absl::Status Submit() {
    if (context_->draining) {
      return Draining();
    }
    absl::StatusOr<std::string> id = ParseDocumentName(request_.document(), "document");
    if (!id.ok()) {
      return id.status();
    }
    if (request_.question().empty()) {
      return InvalidField("question", "must not be empty");
    }
    if (static_cast<int64_t>(request_.question().size()) > context_->options->max_question_bytes) {
      return WithDetails(absl::InvalidArgumentError(absl::StrCat(
                             "the question has ", request_.question().size(),
                             " bytes, the limit is ", context_->options->max_question_bytes)),
                         {.reason = reason::kQuestionTooLong, .field = "question"});
    }
    if (request_.max_evidence() < 0 || request_.max_evidence() > kMaxEvidence) {
      return InvalidField("max_evidence", absl::StrCat("0 to ", kMaxEvidence));
    }
    absl::StatusOr<store::DocumentRecord> record = context_->documents->Get(*id);
    if (!record.ok()) {
      return record.status();
    }
    if (absl::Status status = CheckState(*record); !status.ok()) {
      return status;
    }
    QuestionRequest question;
    if (absl::Status status = ReadSampling(request_.sampling(), *context_->model, &question);
        !status.ok()) {
      return status;
    }
    absl::StatusOr<std::vector<int32_t>> tokens =
        context_->model->prompt().QuestionIds(request_.question());
    if (!tokens.ok()) {
      return WithDetails(tokens.status(), {.reason = reason::kNotUtf8, .field = "question"});
    }
    question.tokens = *std::move(tokens);
    if (absl::Status status = CheckLength(*record, question); !status.ok()) {
      return status;
    }
    question.document = {kTenant, *id};
    question.strip_leading_space = context_->model->prompt().file().strip_leading_space;
    question.allow_partial = request_.allow_partial();
    question.max_evidence = request_.max_evidence();
    question.arrival = arrival_;
    question.deadline = deadline_;
    document_id_ = *std::move(id);
    document_serial_ = record->serial;
    context_->store->MarkAsked(kTenant, document_id_);
    if (absl::Status status = context_->engine->Ask(std::move(question), stream_); !status.ok()) {
      return status;
    }
    // Runs under the stream's lock: only a note. Posting is cheap, and Pump finds out what is new.
    stream_->OnReady([this] {
      context_->delivery->Run([self = shared_from_this()] { self->Pump(/*after_write=*/false); });
    });
    return absl::OkStatus();
  }

  absl::Status CheckState(const store::DocumentRecord& record) const {
    switch (record.state) {
      case store::DocumentState::kActive:
        return absl::OkStatus();
      case store::DocumentState::kFailed:
        return WithDetails(absl::FailedPreconditionError(absl::StrCat(
                               "the document could not be read: ", record.failure_message)),
                           {.reason = reason::kDocumentFailed});
      case store::DocumentState::kCreating:
        return WithDetails(absl::FailedPreconditionError("the document's upload is not complete"),
                           {.reason = reason::kNotActive});
      case store::DocumentState::kQueued:
      case store::DocumentState::kPrefilling:
        break;
    }
    if (request_.allow_partial()) {
      return absl::OkStatus();
    }
    const auto live = context_->engine->board().Find({kTenant, record.id});
    const Progress progress = live.has_value() ? live->progress : ProgressOf(record);
    return WithDetails(absl::FailedPreconditionError(
                           absl::StrCat("the document is still being read: ", progress.tokens_done,
                                        " of ", record.token_count, " tokens")),
                       {.reason = reason::kNotActive,
                        .metadata = {{"tokens_done", absl::StrCat(progress.tokens_done)},
                                     {"tokens_total", absl::StrCat(record.token_count)}},
                        .retry_seconds = progress.eta_seconds >= 0 ? progress.eta_seconds : 1});
  }

  absl::Status CheckLength(const store::DocumentRecord& record, const QuestionRequest& question) {
    const int64_t used = context_->model->prefix_tokens() + record.token_count +
                         static_cast<int64_t>(question.tokens.size());
    const int64_t context_length = context_->model->context_length();
    if (used < context_length) {
      return absl::OkStatus();
    }
    return WithDetails(
        absl::InvalidArgumentError(absl::StrCat("document and question have ", used,
                                                " tokens, which leaves no room for an answer in "
                                                "the model's context of ",
                                                context_length)),
        {.reason = reason::kQuestionTooLong,
         .metadata = {{"tokens", absl::StrCat(used)},
                      {"context_length", absl::StrCat(context_length)}},
         .field = "question"});
  }

  // Sends the next event, unless a write is under way: its end comes back here.
  void Pump(bool after_write) {
    AnswerEvent event;
    {
      MutexLock lock(&mutex_);
      if (after_write) {
        sending_ = false;
      }
      if (sending_) {
        return;
      }
      std::optional<AnswerEvent> next = stream_->Pop();
      if (!next.has_value()) {
        if (const std::optional<absl::Status> status = stream_->Closed()) {
          End(*status);
        }
        return;
      }
      event = *std::move(next);
      sending_ = true;
    }
    v1::AskResponse response;
    if (const auto* progress = std::get_if<Progress>(&event)) {
      *response.mutable_progress() = ToMessage(*progress);
    } else if (const auto* started = std::get_if<AnswerStarted>(&event)) {
      *response.mutable_started() = ToMessage(*started);
    } else if (const auto* text = std::get_if<AnswerText>(&event)) {
      *response.mutable_text() = ToMessage(*text);
    } else if (auto* finished = std::get_if<AnswerFinished>(&event)) {
      *response.mutable_finished() = ToMessage(*finished);
      if (!finished->evidence.empty()) {
        SendWithEvidence(std::move(*finished), std::move(response));
        return;
      }
    }
    Send(response);
  }

  // The passages are read from the disk, which other answers must not wait for.
  void SendWithEvidence(AnswerFinished finished, v1::AskResponse response) {
    context_->disk->Run([self = shared_from_this(), finished = std::move(finished),
                         response = std::move(response)]() mutable {
      self->AddEvidence(finished, response.mutable_finished());
      self->Send(response);
    });
  }

  // The passages' text comes from the store; one that cannot be read is left without.
  void AddEvidence(const AnswerFinished& finished, v1::Finished* message) {
    for (const EvidenceSpan& span : finished.evidence) {
      v1::Evidence* const evidence = message->add_evidence();
      evidence->set_begin_byte(span.begin_byte);
      evidence->set_end_byte(span.end_byte);
      evidence->set_weight(span.weight);
      absl::StatusOr<std::string> text = context_->documents->ReadText(
          document_id_, document_serial_, span.begin_byte,
          std::min(kMaxEvidenceText, span.end_byte - span.begin_byte));
      if (text.ok()) {
        evidence->set_text(WholeCharacters(*std::move(text)));
      }
    }
  }

  CallContext* const context_;
  v1::AskRequest request_;
  const absl::Status parsed_;
  const std::shared_ptr<AnswerStream> stream_;
  const std::chrono::steady_clock::time_point arrival_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point deadline_;
  std::string document_id_;
  int64_t document_serial_ = 0;
  Mutex mutex_;
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* QuestionServiceImpl::Ask(
    grpc::CallbackServerContext* call, const grpc::ByteBuffer* request) {
  return AskCall::Launch(std::make_shared<AskCall>(context_, call, request));
}

}  // namespace longleaf::service
