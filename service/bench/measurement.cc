#include "service/bench/measurement.h"

namespace longleaf::service::bench {
namespace {

Json Counts(const std::map<std::string, int64_t>& counts) {
  Json json = Json::object();
  for (const auto& [name, count] : counts) {
    json[name] = count;
  }
  return json;
}

}  // namespace

double Measurement::tokens_per_second() const {
  return seconds() > 0 ? static_cast<double>(tokens) / seconds() : 0;
}

double Measurement::answers_per_second() const {
  return seconds() > 0 ? static_cast<double>(answered) / seconds() : 0;
}

int64_t Measurement::failed() const {
  int64_t sum = 0;
  for (const auto& [reason, count] : failures) {
    sum += count;
  }
  return sum;
}

Json ToJson(const Samples& samples) {
  return {{"count", samples.count()},      {"mean", samples.mean()},
          {"p50", samples.Quantile(0.50)}, {"p95", samples.Quantile(0.95)},
          {"p99", samples.Quantile(0.99)}, {"max", samples.greatest()},
          {"exact", samples.exact()}};
}

Json ToJson(const Measurement& m) {
  return {{"seconds", m.seconds()},
          {"asked", m.asked},
          {"answered", m.answered},
          {"failed", m.failed()},
          {"failures", Counts(m.failures)},
          {"finish_reasons", Counts(m.finish_reasons)},
          {"state_tiers", Counts(m.tiers)},
          {"question_tokens", m.question_tokens},
          {"answer_tokens", m.answer_tokens},
          {"tokens_in_window", m.tokens},
          {"texts_in_window", m.texts},
          {"first_texts_tokens", m.first_texts_tokens},
          {"most_outstanding", m.most_outstanding},
          {"tokens_per_second", m.tokens_per_second()},
          {"answers_per_second", m.answers_per_second()},
          {"ttft_seconds", ToJson(m.ttft)},
          {"itl_seconds", ToJson(m.itl)},
          {"text_gap_seconds", ToJson(m.gaps)},
          {"mean_itl_seconds", ToJson(m.mean_itl)},
          {"latency_seconds", ToJson(m.latency)},
          {"queue_seconds", ToJson(m.queue)}};
}

}  // namespace longleaf::service::bench
