// The random client's questions.

#include <algorithm>

#include "tests/soak/random_client.h"

namespace longleaf::soak {

void RandomClient::Question(const std::string& id, Manner manner) {
  const Known known = known_[id];
  const Text& text = library_->text(known.text);
  const int64_t fact = random_.Below(static_cast<int64_t>(text.facts.size()));
  AskSpec spec;
  spec.request.set_document("documents/" + id);
  spec.request.set_question(text.facts[static_cast<size_t>(fact)].question);
  spec.request.mutable_sampling()->set_temperature(0);
  spec.request.mutable_sampling()->set_logprobs(2);
  spec.request.set_max_evidence(static_cast<int32_t>(random_.OneIn(4) ? random_.Below(4) : 0));
  spec.request.set_allow_partial(manner == Manner::kPartial);
  switch (manner) {
    case Manner::kCancelled:
      spec.cancel_after = random_.Below(4);
      break;
    case Manner::kShortDeadline:
      spec.deadline_ms = 1 + random_.Below(random_.OneIn(2) ? 20 : 400);
      break;
    case Manner::kDeletedMeanwhile:
      spec.meanwhile = [this, &id] { Delete(id); };
      break;
    default:
      break;
  }
  AskResult answer;
  const grpc::Status status = calls_->Ask(spec, &answer);
  const auto code = status.error_code();
  if (answer.out_of_order) {
    tally_->Finding("events out of order", id);
  }
  if (answer.has_started) {
    tally_->Count("state from tier " + std::to_string(answer.started.tier()));
    library_->CheckBeginning(known.text, fact, answer.started.document_tokens_visible(), answer);
  }
  if ((manner == Manner::kCancelled && code == grpc::StatusCode::CANCELLED) ||
      (manner == Manner::kShortDeadline && code == grpc::StatusCode::DEADLINE_EXCEEDED)) {
    tally_->Count("operations");
    tally_->Count(manner == Manner::kCancelled ? "op: ask, cancelled" : "op: ask, deadline passed");
    return;
  }
  switch (Judge("ask", status)) {
    case Fate::kOk:
      if (!answer.has_finished) {
        tally_->Finding("answer without end", id);
        return;
      }
      library_->CheckAnswer(known.text, fact, answer.started.document_tokens_visible(), answer);
      CheckEvidence(text, answer);
      if (answer.started.document_tokens_visible() > answer.finished.usage().document_tokens()) {
        tally_->Finding("usage", id + ": more of the document seen than it has");
      }
      return;
    case Fate::kRefused:
      if (code == grpc::StatusCode::NOT_FOUND &&
          (manner == Manner::kDeletedMeanwhile || MayBeGone(known))) {
        return;
      }
      if (code == grpc::StatusCode::FAILED_PRECONDITION && !known.active &&
          ReasonOf(status) == "DOCUMENT_NOT_ACTIVE") {
        return;  // for a partial answer, too, when nothing has been read yet
      }
      if (code == grpc::StatusCode::NOT_FOUND) {
        Lost(id, "not there for a question");
        return;
      }
      Unexpected("ask", id, status);
      return;
    default:
      return;
  }
}

void RandomClient::CheckEvidence(const Text& text, const AskResult& answer) {
  for (const v1::Evidence& evidence : answer.finished.evidence()) {
    const auto begin = static_cast<size_t>(evidence.begin_byte());
    const auto end = static_cast<size_t>(evidence.end_byte());
    // The passage's text is cut to whole characters within those bytes.
    const bool inside =
        begin < end && end <= text.bytes.size() && evidence.text().size() <= end - begin &&
        text.bytes.substr(begin, end - begin).find(evidence.text()) != std::string::npos;
    if (!inside) {
      tally_->Finding("evidence", "bytes " + std::to_string(begin) + ".." + std::to_string(end) +
                                      " are not \"" + evidence.text() + "\"");
    }
  }
}

}  // namespace longleaf::soak
