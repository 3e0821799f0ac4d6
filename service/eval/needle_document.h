// A document of a wanted length, made of filler prose with generated facts set between its
// sentences at even depths.
#ifndef LONGLEAF_SERVICE_EVAL_NEEDLE_DOCUMENT_H_
#define LONGLEAF_SERVICE_EVAL_NEEDLE_DOCUMENT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer.h"
#include "service/eval/facts.h"
#include "service/eval/random_weights.h"

namespace longleaf::service::eval {

// Prose cut into sentences. Immutable.
class Filler {
 public:
  // INVALID_ARGUMENT when the text holds fewer than ten sentences or is not UTF-8. `tokenizer`
  // counts, and is not kept.
  static absl::StatusOr<Filler> Create(std::string_view text, const model::Tokenizer& tokenizer);

  struct Sentence {
    std::string text;
    int64_t tokens = 0;
    bool paragraph = false;  // the first of one
  };
  const std::vector<Sentence>& sentences() const { return sentences_; }

 private:
  std::vector<Sentence> sentences_;
};

struct PlacedFact {
  Fact fact;
  double depth = 0;  // 0..1, where in the document it stands
};

struct NeedleDocument {
  std::string text;
  std::vector<PlacedFact> facts;  // in the order of the text
};

// About `tokens` tokens, not more, unless the facts alone take more: filler from a random place on,
// begun again at its end, with the facts in random order.
NeedleDocument MakeNeedleDocument(const Filler& filler, std::vector<Fact> facts, int64_t tokens,
                                  const model::Tokenizer& tokenizer, SplitMix64& random);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_NEEDLE_DOCUMENT_H_
