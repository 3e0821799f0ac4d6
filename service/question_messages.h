// The engine's events as the wire's messages.
#ifndef LONGLEAF_SERVICE_QUESTION_MESSAGES_H_
#define LONGLEAF_SERVICE_QUESTION_MESSAGES_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "longleaf/v1/question.pb.h"
#include "service/answer_stream.h"
#include "service/document_messages.h"
#include "service/documents.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

v1::Started ToMessage(const AnswerStarted& started);
v1::TextDelta ToMessage(const AnswerText& text);
// Without the passages, whose text only the store has: AddEvidence.
v1::Finished ToMessage(const AnswerFinished& finished);

// Sets the event of an AskResponse or a BatchAskResponse.
template <typename Response>
void SetEvent(const AnswerEvent& event, Response* response) {
  if (const auto* progress = std::get_if<Progress>(&event)) {
    *response->mutable_progress() = ToMessage(*progress);
  } else if (const auto* started = std::get_if<AnswerStarted>(&event)) {
    *response->mutable_started() = ToMessage(*started);
  } else if (const auto* text = std::get_if<AnswerText>(&event)) {
    *response->mutable_text() = ToMessage(*text);
  } else if (const auto* finished = std::get_if<AnswerFinished>(&event)) {
    *response->mutable_finished() = ToMessage(*finished);
  }
}

// Whether the event needs AddEvidence before it can be sent.
bool HasEvidence(const AnswerEvent& event);
// Adds the passages to `message`, with their text from the store: reads the disk. One that cannot
// be read is left without. `serial` is the document's (DocumentRecord).
void AddEvidence(const std::vector<EvidenceSpan>& spans, Documents* documents,
                 const std::string& document_id, int64_t serial, v1::Finished* message);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_QUESTION_MESSAGES_H_
