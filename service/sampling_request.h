// A request's sampling message to the engine's parameters.
#ifndef LONGLEAF_SERVICE_SAMPLING_REQUEST_H_
#define LONGLEAF_SERVICE_SAMPLING_REQUEST_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "longleaf/v1/question.pb.h"
#include "service/engine.h"
#include "service/served_model.h"

namespace longleaf::service {

// Fills question->sampling and question->stop; what the message leaves out is the model's default.
// INVALID_ARGUMENT names the field, the message itself being the request's field `path`.
absl::Status ReadSampling(const longleaf::v1::Sampling& message, absl::string_view path,
                          const ServedModel& model, QuestionRequest* question);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SAMPLING_REQUEST_H_
