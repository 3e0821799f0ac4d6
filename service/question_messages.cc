#include "service/question_messages.h"

#include <algorithm>
#include <utility>

#include "service/time_conversion.h"

namespace longleaf::service {
namespace {

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

v1::StateTier ToMessage(StateTier tier) {
  switch (tier) {
    case StateTier::kMemory:
      return v1::STATE_TIER_MEMORY;
    case StateTier::kDisk:
      return v1::STATE_TIER_DISK;
    case StateTier::kPrefill:
      return v1::STATE_TIER_PREFILL;
  }
  return v1::STATE_TIER_UNSPECIFIED;
}

v1::FinishReason ToMessage(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfText:
      return v1::FINISH_REASON_END_OF_TEXT;
    case FinishReason::kStopString:
      return v1::FINISH_REASON_STOP_STRING;
    case FinishReason::kMaxTokens:
      return v1::FINISH_REASON_MAX_TOKENS;
    case FinishReason::kContextFull:
      return v1::FINISH_REASON_CONTEXT_FULL;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::TokenLogprobs::Candidate ToMessage(const TokenCandidate& candidate) {
  v1::TokenLogprobs::Candidate out;
  out.set_token(candidate.token);
  out.set_text(candidate.text);
  out.set_logprob(candidate.logprob);
  return out;
}

}  // namespace

v1::Started ToMessage(const AnswerStarted& started) {
  v1::Started out;
  out.set_tier(ToMessage(started.tier));
  out.set_tokens_reused(started.tokens_reused);
  out.set_tokens_prefilled(started.tokens_prefilled);
  out.set_document_tokens_visible(started.document_tokens);
  return out;
}

v1::TextDelta ToMessage(const AnswerText& text) {
  v1::TextDelta out;
  out.set_text(text.text);
  for (const TokenLogprobs& token : text.logprobs) {
    v1::TokenLogprobs* const logprobs = out.add_logprobs();
    *logprobs->mutable_chosen() = ToMessage(token.chosen);
    for (const TokenCandidate& other : token.top) {
      *logprobs->add_top() = ToMessage(other);
    }
  }
  return out;
}

v1::Finished ToMessage(const AnswerFinished& finished) {
  v1::Finished out;
  out.set_reason(ToMessage(finished.reason));
  v1::Usage& usage = *out.mutable_usage();
  usage.set_document_tokens(finished.document_tokens);
  usage.set_question_tokens(finished.question_tokens);
  usage.set_answer_tokens(finished.answer_tokens);
  usage.set_tokens_reused(finished.tokens_reused);
  usage.set_tokens_prefilled(finished.tokens_prefilled);
  v1::Timings& timings = *out.mutable_timings();
  *timings.mutable_queue() = ToDuration(finished.queue_seconds);
  *timings.mutable_restore() = ToDuration(finished.restore_seconds);
  *timings.mutable_prefill() = ToDuration(finished.prefill_seconds);
  *timings.mutable_time_to_first_token() = ToDuration(finished.first_token_seconds);
  *timings.mutable_decode() = ToDuration(finished.decode_seconds);
  *timings.mutable_total() = ToDuration(finished.total_seconds);
  out.set_seed(finished.seed);
  return out;
}

bool HasEvidence(const AnswerEvent& event) {
  const auto* finished = std::get_if<AnswerFinished>(&event);
  return finished != nullptr && !finished->evidence.empty();
}

void AddEvidence(const std::vector<EvidenceSpan>& spans, Documents* documents,
                 const std::string& document_id, int64_t serial, v1::Finished* message) {
  for (const EvidenceSpan& span : spans) {
    v1::Evidence* const evidence = message->add_evidence();
    evidence->set_begin_byte(span.begin_byte);
    evidence->set_end_byte(span.end_byte);
    evidence->set_weight(span.weight);
    absl::StatusOr<std::string> text =
        documents->ReadText(document_id, serial, span.begin_byte,
                            std::min(kMaxEvidenceText, span.end_byte - span.begin_byte));
    if (text.ok()) {
      evidence->set_text(WholeCharacters(*std::move(text)));
    }
  }
}

}  // namespace longleaf::service
