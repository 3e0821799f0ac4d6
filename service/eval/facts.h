// Generated facts about invented things, each with its question and answer, in phrasings that the
// built-in model was made for (and that any model can read).
#ifndef LONGLEAF_SERVICE_EVAL_FACTS_H_
#define LONGLEAF_SERVICE_EVAL_FACTS_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "service/eval/random_weights.h"

namespace longleaf::service::eval {

struct Fact {
  std::string statement;  // one sentence
  std::string question;
  std::string answer;
};

// What a model is to say when the document does not hold the answer.
inline constexpr char kNotStated[] = "not stated";

// Not thread-safe. Equal seeds give equal facts on every machine.
class FactMaker {
 public:
  explicit FactMaker(uint64_t seed) : random_(seed) {}

  // `count` facts in pairs: two things of one kind, the same relation, two answers, so that finding
  // the relation alone is not enough. No thing occurs twice.
  std::vector<Fact> Make(int64_t count);

  // A question of the same kinds about a thing that no fact of this maker mentions. Its answer is
  // kNotStated, its statement is empty.
  Fact MakeUnstated();

 private:
  Fact MakeFact(size_t relation, const std::string& other_answer);
  std::string Entity(size_t kind);
  std::string Value(size_t kind);
  std::string Name();
  const char* Pick(const std::vector<const char*>& from);

  SplitMix64 random_;
  std::set<std::string> used_;  // names given out
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_FACTS_H_
