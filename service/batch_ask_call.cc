// BatchAsk: several questions on one document, and their answers in one stream. Every question is
// one like any other to the engine and has a bounded stream of its own; this call takes one event
// after the other from them in turn, so that no answer holds up another.

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "service/question_calls.h"
#include "service/question_intake.h"
#include "service/question_messages.h"
#include "service/ready_queue.h"
#include "service/sampling_request.h"
#include "service/write_call.h"

namespace longleaf::service {
namespace {

class BatchAskCall final : public WriteCall<BatchAskCall, v1::BatchAskResponse> {
 public:
  BatchAskCall(CallContext* context, grpc::CallbackServerContext* call,
               const grpc::ByteBuffer* request)
      : WriteCall(call, std::chrono::seconds(context->options->stream_idle_seconds)),
        context_(context),
        deadline_(QuestionDeadline(*context, *call, arrival_)) {
    if (request != nullptr) {
      bytes_ = *request;  // gRPC's own is gone with the call, whose task may still wait then
    }
  }

 private:
  void Begin() override {
    // Parsed in the task: a message of small questions is many times its size once it is parsed,
    // and the tasks at work are few.
    const absl::Status admitted = Admit(context_, context_->executor, [self = shared_from_this()] {
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
  void OnGone() override { Cancel(); }
  void OnEnded() override { Cancel(); }

  void Cancel() {
    MutexLock lock(&mutex_);
    gone_ = true;
    for (const std::shared_ptr<AnswerStream>& stream : streams_) {
      stream->Cancel();
    }
  }

  // Checks all questions, then asks the engine for the answer of each.
  absl::Status Submit() {
    if (context_->draining) {
      return Draining();
    }
    absl::StatusOr<std::vector<QuestionRequest>> questions = Prepare();
    if (!questions.ok()) {
      return questions.status();
    }
    std::vector<std::shared_ptr<AnswerStream>> streams(questions->size());
    std::generate(streams.begin(), streams.end(), [] {
      return std::make_shared<AnswerStream>(AnswerStream::kCapacityBytes,
                                            AnswerStream::kTextInterval);
    });
    ready_ = std::make_unique<ReadyQueue>(streams.size());
    {
      MutexLock lock(&mutex_);
      if (gone_) {
        return absl::CancelledError("the client is gone");
      }
      streams_ = streams;
      closed_.assign(streams.size(), false);
      open_ = static_cast<int64_t>(streams.size());
    }
    context_->store->MarkAsked(kTenant, document_id_);
    absl::Status refusal;  // the first
    size_t refused = 0;
    for (size_t i = 0; i < streams.size(); ++i) {
      absl::Status status = context_->engine->Ask(std::move((*questions)[i]), streams[i]);
      if (!status.ok()) {
        refusal.Update(status);
        ++refused;
        streams[i]->Close(std::move(status));
      }
    }
    if (refused == streams.size()) {
      return refusal;
    }
    for (size_t i = 0; i < streams.size(); ++i) {
      // Runs under the stream's lock: only a note.
      streams[i]->OnReady([this, i] {
        if (ready_->Note(i)) {
          context_->delivery->Run(
              [self = shared_from_this()] { self->Pump(/*after_write=*/false); });
        }
      });
    }
    return absl::OkStatus();
  }

  // The request's questions, or what is wrong with any of them. Sets the document's name and
  // serial.
  absl::StatusOr<std::vector<QuestionRequest>> Prepare() {
    const Options& options = *context_->options;
    v1::BatchAskRequest request;
    absl::Status parsed = ParseRequest(
        &bytes_, MaxBatchBytes(options.max_question_bytes, options.max_batch_questions), &request);
    bytes_.Clear();
    if (!parsed.ok()) {
      return parsed;
    }
    if (request.questions().empty() || request.questions_size() > options.max_batch_questions) {
      return InvalidField("questions", absl::StrCat("1 to ", options.max_batch_questions, ", not ",
                                                    request.questions_size()));
    }
    // Before it is copied for each of the questions.
    QuestionRequest unused;
    if (absl::Status status =
            ReadSampling(request.sampling(), "sampling", *context_->model, &unused);
        !status.ok()) {
      return status;
    }
    std::vector<QuestionText> texts;
    for (int i = 0; i < request.questions_size(); ++i) {
      const v1::BatchQuestion& question = request.questions(i);
      QuestionText text{.question = &question.question(),
                        .sampling = request.sampling(),
                        .max_evidence = question.max_evidence(),
                        .path = absl::StrCat("questions[", i, "].")};
      text.sampling.MergeFrom(question.sampling());
      if (absl::Status status = CheckQuestion(*context_, text); !status.ok()) {
        return status;
      }
      texts.push_back(std::move(text));
    }
    absl::StatusOr<store::DocumentRecord> document =
        FindAskable(*context_, request.document(), request.allow_partial());
    if (!document.ok()) {
      return document.status();
    }
    document_id_ = document->id;
    document_serial_ = document->serial;
    std::vector<QuestionRequest> questions;
    for (const QuestionText& text : texts) {
      absl::StatusOr<QuestionRequest> question =
          PrepareQuestion(*context_, *document, text, request.allow_partial());
      if (!question.ok()) {
        return question.status();
      }
      question->arrival = arrival_;
      question->deadline = deadline_;
      questions.push_back(*std::move(question));
    }
    return questions;
  }

  // Sends the next event, unless a write is under way: its end comes back here.
  void Pump(bool after_write) {
    v1::BatchAskResponse response;
    {
      MutexLock lock(&mutex_);
      if (after_write) {
        sending_ = false;
      }
      if (sending_) {
        return;
      }
      if (!Next(&response)) {
        if (open_ == 0) {
          End(absl::OkStatus());
        }
        return;
      }
      sending_ = true;
    }
    Send(response);
  }

  // The next event of the stream whose turn it is; false when there is none now.
  bool Next(v1::BatchAskResponse* response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!with_evidence_.empty()) {
      *response = std::move(with_evidence_.front());
      with_evidence_.pop_front();
      --open_;
      return true;
    }
    while (const std::optional<size_t> turn = ready_->Take()) {
      response->Clear();
      response->set_index(static_cast<int32_t>(*turn));
      if (std::optional<AnswerEvent> event = streams_[*turn]->Pop()) {
        ready_->Note(*turn);
        SetEvent(*event, response);
        if (!HasEvidence(*event)) {
          return true;
        }
        ++open_;
        ReadEvidence(*std::move(event), std::move(*response));
        continue;
      }
      const std::optional<absl::Status> status = streams_[*turn]->Closed();
      if (!status.has_value() || closed_[*turn]) {
        continue;
      }
      closed_[*turn] = true;
      --open_;
      if (!status->ok()) {
        *response->mutable_failed() = ToMessage(*status);
        return true;
      }
    }
    return false;
  }

  // The passages are read from the disk, which no other answer must wait for.
  void ReadEvidence(AnswerEvent event, v1::BatchAskResponse response) {
    context_->disk->Run([self = shared_from_this(), event = std::move(event),
                         response = std::move(response)]() mutable {
      AddEvidence(std::get<AnswerFinished>(event).evidence, self->context_->documents,
                  self->document_id_, self->document_serial_, response.mutable_finished());
      {
        MutexLock lock(&self->mutex_);
        self->with_evidence_.push_back(std::move(response));
      }
      self->Pump(/*after_write=*/false);
    });
  }

  CallContext* const context_;
  const std::chrono::steady_clock::time_point arrival_ = std::chrono::steady_clock::now();
  // Counts from the arrival: what waits in the executor's queue is waiting, too.
  const std::chrono::steady_clock::time_point deadline_;

  // Of the task that submits; then they stay as they are.
  grpc::ByteBuffer bytes_;
  std::string document_id_;
  int64_t document_serial_ = 0;
  std::unique_ptr<ReadyQueue> ready_;

  Mutex mutex_;  // before the streams' own
  std::vector<std::shared_ptr<AnswerStream>> streams_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> closed_ ABSL_GUARDED_BY(mutex_);  // streams at whose end we have been
  // Finished, and their evidence was read.
  std::deque<v1::BatchAskResponse> with_evidence_ ABSL_GUARDED_BY(mutex_);
  int64_t open_ ABSL_GUARDED_BY(mutex_) = 0;  // streams not closed, and reads of evidence
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartBatchAsk(CallContext* context,
                                                          grpc::CallbackServerContext* call,
                                                          const grpc::ByteBuffer* request) {
  return BatchAskCall::Launch(std::make_shared<BatchAskCall>(context, call, request));
}

}  // namespace longleaf::service
