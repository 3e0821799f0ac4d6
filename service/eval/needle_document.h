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

struct NeedleDocument {
  std::string text;
  // [facts][statements] 0..1, how far into the filler each statement stands.
  std::vector<std::vector<double>> depths;
};

// About `tokens` tokens, not more, unless the facts alone take more: filler from a random place on,
// begun again at its end, with the statements of `facts` in random order at even distances.
// `phase`, 0..1, is where a statement stands in its share of the filler: with only one, in the
// document.
NeedleDocument MakeNeedleDocument(const Filler& filler, const std::vector<Fact>& facts,
                                  double phase, int64_t tokens, const model::Tokenizer& tokenizer,
                                  SplitMix64& random);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_NEEDLE_DOCUMENT_H_
