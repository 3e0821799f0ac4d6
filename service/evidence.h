// Which passages an answer attended to. Attention is a hint where the model looked, not a proof.
#ifndef LONGLEAF_SERVICE_EVIDENCE_H_
#define LONGLEAF_SERVICE_EVIDENCE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/attention_policy.h"
#include "service/answer_stream.h"

namespace longleaf::service {

// Adds up, over an answer's tokens, the softmax weight that fell on each group of tokens, and picks
// the passages with the most of it. Not thread-safe.
class EvidenceCollector {
 public:
  // Document tokens are the state's tokens prefix_tokens .. prefix_tokens + document_tokens - 1.
  EvidenceCollector(const kernels::AttentionPolicy& policy, int64_t prefix_tokens,
                    int64_t document_tokens);

  // The buffer for BatchItem::attention_mass of a query that is token `query` (0-based) of its
  // state: zeroed, [cores visible | raw tokens visible].
  float* Prepare(int64_t query);
  // Takes in what the step wrote into it.
  void Add();

  // At most `count` passages, strongest first, in bytes of the text; neighbouring groups are one
  // passage. `token_ends` [document_tokens]: where each document token ends.
  std::vector<EvidenceSpan> Strongest(int64_t count, absl::Span<const int64_t> token_ends) const;

 private:
  const kernels::AttentionPolicy policy_;
  const int64_t prefix_tokens_;
  const int64_t document_tokens_;
  const int64_t unit_;  // tokens that one entry of weights_ stands for
  int64_t query_ = 0;
  std::vector<float> mass_;      // [cores visible | raw visible] of query_
  std::vector<double> weights_;  // [ceil((prefix + document) / unit)]
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_EVIDENCE_H_
