// The engine's events as the wire's messages.
#ifndef LONGLEAF_SERVICE_QUESTION_MESSAGES_H_
#define LONGLEAF_SERVICE_QUESTION_MESSAGES_H_

#include "longleaf/v1/question.pb.h"
#include "service/answer_stream.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

v1::Started ToMessage(const AnswerStarted& started);
v1::TextDelta ToMessage(const AnswerText& text);
// Without the passages' text, which only the store has.
v1::Finished ToMessage(const AnswerFinished& finished);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_QUESTION_MESSAGES_H_
