// How near an answer is to those expected, as the SQuAD evaluation counts it (Rajpurkar and others
// 2016): words in small letters, without ASCII punctuation and without a, an, the. Letters outside
// ASCII are compared as they stand.
#ifndef LONGLEAF_SERVICE_EVAL_SQUAD_SCORE_H_
#define LONGLEAF_SERVICE_EVAL_SQUAD_SCORE_H_

#include <string>
#include <string_view>
#include <vector>

namespace longleaf::service::eval {

// The words that count. Punctuation goes without leaving a gap: "don't" is "dont".
std::vector<std::string> AnswerWords(std::string_view text);

// Whether the words of `part` stand in a row among those of `whole`; false without any.
bool ContainsWords(const std::vector<std::string>& whole, const std::vector<std::string>& part);

struct AnswerScore {
  double exact = 0;  // 1 or 0
  double f1 = 0;     // of precision and recall of words; two empty answers agree
};

// The best over `expected`; zero where there is none.
AnswerScore ScoreAnswer(std::string_view answer, const std::vector<std::string>& expected);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_SQUAD_SCORE_H_
