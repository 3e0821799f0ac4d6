#include "service/question_intake.h"

#include <grpc/support/time.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "service/document_messages.h"
#include "service/sampling_request.h"

namespace longleaf::service {
namespace {

constexpr int64_t kMaxEvidence = 16;

absl::Status CheckState(const CallContext& context, const store::DocumentRecord& record,
                        bool allow_partial) {
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
  if (allow_partial) {
    return absl::OkStatus();
  }
  const auto live = context.engine->board().Find({kTenant, record.id});
  const Progress progress = live.has_value() ? live->progress : ProgressOf(record);
  return WithDetails(absl::FailedPreconditionError(
                         absl::StrCat("the document is still being read: ", progress.tokens_done,
                                      " of ", record.token_count, " tokens")),
                     {.reason = reason::kNotActive,
                      .metadata = {{"tokens_done", absl::StrCat(progress.tokens_done)},
                                   {"tokens_total", absl::StrCat(record.token_count)}},
                      .retry_seconds = progress.eta_seconds >= 0 ? progress.eta_seconds : 1});
}

absl::Status CheckLength(const CallContext& context, const store::DocumentRecord& document,
                         const QuestionRequest& request, const std::string& field) {
  const int64_t used = context.model->prefix_tokens() + document.token_count +
                       static_cast<int64_t>(request.tokens.size());
  const int64_t context_length = context.model->context_length();
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
       .field = field});
}

// Until the client's deadline. From gRPC's own time: as a time_point a deadline in some centuries
// overflows and lies in the past.
std::chrono::steady_clock::duration TimeLeft(const grpc::CallbackServerContext& call) {
  const gpr_timespec left = gpr_convert_clock_type(call.raw_deadline(), GPR_TIMESPAN);
  constexpr int64_t kLongest = int64_t{1} << 32;
  return std::chrono::seconds(std::clamp<int64_t>(left.tv_sec, -1, kLongest)) +
         std::chrono::nanoseconds(left.tv_nsec);
}

}  // namespace

absl::Status CheckQuestion(const CallContext& context, const QuestionText& question) {
  const std::string field = question.path + "question";
  if (question.question->empty()) {
    return InvalidField(field, "must not be empty");
  }
  if (static_cast<int64_t>(question.question->size()) > context.options->max_question_bytes) {
    return WithDetails(absl::InvalidArgumentError(absl::StrCat(
                           field, " has ", question.question->size(), " bytes, the limit is ",
                           context.options->max_question_bytes)),
                       {.reason = reason::kQuestionTooLong, .field = field});
  }
  if (question.max_evidence < 0 || question.max_evidence > kMaxEvidence) {
    return InvalidField(question.path + "max_evidence", absl::StrCat("0 to ", kMaxEvidence));
  }
  return absl::OkStatus();
}

absl::StatusOr<store::DocumentRecord> FindAskable(const CallContext& context,
                                                  const std::string& name, bool allow_partial) {
  absl::StatusOr<std::string> id = ParseDocumentName(name, "document");
  if (!id.ok()) {
    return id.status();
  }
  absl::StatusOr<store::DocumentRecord> record = context.documents->Get(*id);
  if (!record.ok()) {
    return record.status();
  }
  if (absl::Status status = CheckState(context, *record, allow_partial); !status.ok()) {
    return status;
  }
  return record;
}

absl::StatusOr<QuestionRequest> PrepareQuestion(const CallContext& context,
                                                const store::DocumentRecord& document,
                                                const QuestionText& question, bool allow_partial) {
  QuestionRequest request;
  if (absl::Status status =
          ReadSampling(question.sampling, question.path + "sampling", *context.model, &request);
      !status.ok()) {
    return status;
  }
  const std::string field = question.path + "question";
  absl::StatusOr<std::vector<int32_t>> tokens =
      context.model->prompt().QuestionIds(*question.question);
  if (!tokens.ok()) {
    return WithDetails(tokens.status(), {.reason = reason::kNotUtf8, .field = field});
  }
  request.tokens = *std::move(tokens);
  if (absl::Status status = CheckLength(context, document, request, field); !status.ok()) {
    return status;
  }
  request.document = {kTenant, document.id};
  request.strip_leading_space = context.model->prompt().file().strip_leading_space;
  request.allow_partial = allow_partial;
  request.max_evidence = question.max_evidence;
  return request;
}

std::chrono::steady_clock::time_point QuestionDeadline(
    const CallContext& context, const grpc::CallbackServerContext& call,
    std::chrono::steady_clock::time_point arrival) {
  return arrival + std::min<std::chrono::steady_clock::duration>(
                       std::chrono::seconds(context.options->max_question_seconds), TimeLeft(call));
}

}  // namespace longleaf::service
