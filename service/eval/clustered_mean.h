// Means of results that come in groups: questions on one document share its luck, so an interval
// that takes them for independent is too narrow.
#ifndef LONGLEAF_SERVICE_EVAL_CLUSTERED_MEAN_H_
#define LONGLEAF_SERVICE_EVAL_CLUSTERED_MEAN_H_

#include <cstdint>
#include <string>

#include "absl/types/span.h"

namespace longleaf::service::eval {

struct Observation {
  int64_t cluster = 0;  // the document
  double value = 0;
};

struct Estimate {
  double mean = 0;
  double low = 0;  // 95% interval
  double high = 0;
  int64_t count = 0;
  int64_t clusters = 0;
};

// What the functions below compute, in a sentence for reports.
inline constexpr char kIntervalMethod[] =
    "95%: Wilson score intervals of the effective sample size under cluster-robust (CR1) variance, "
    "clustered by document; differences: CR1 with Student's t";

// Of values in 0..1. The variance of the mean is the cluster-robust (sandwich, "CR1") one of Liang
// and Zeger 1986; the number of independent answers that would give it, at most `count`, goes into
// Wilson's score interval with Student's t for the normal quantile (Dean and Pagano 2015), which
// stays inside 0..1 and has a width even when all answers are right: then, with no variance to go
// by, answers count as independent. A single cluster counts as one answer. All zero without
// observations.
Estimate EstimateProportion(absl::Span<const Observation> observations);

// Of paired differences, values in -1..1: mean +- t * CR1 standard error. Where every one is zero,
// what Wilson's interval leaves for the share of pairs that differ.
Estimate EstimateDifference(absl::Span<const Observation> observations);

// The 97.5% quantile of Student's t with `degrees` >= 1 degrees of freedom, within 0.5%.
double StudentQuantile(int64_t degrees);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_CLUSTERED_MEAN_H_
