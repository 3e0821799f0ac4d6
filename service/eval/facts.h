// Facts about invented things, each with its question and its answers, drawn from a catalogue.
#ifndef LONGLEAF_SERVICE_EVAL_FACTS_H_
#define LONGLEAF_SERVICE_EVAL_FACTS_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "service/eval/fact_catalogue.h"
#include "service/eval/random_weights.h"

namespace longleaf::service::eval {

// How the facts of a document stand to each other.
enum class Task {
  kSingle,       // nothing else in the document is like it
  kMultiKey,     // all of one relation, of things of one kind: only the thing tells them apart
  kMultiValue,   // of one thing and relation several answers, in as many sentences, asked at once
  kDistractors,  // in pairs: two things of one kind, the same relation, different answers
  kMixed,        // some of each
};
inline constexpr Task kTasks[] = {Task::kSingle, Task::kMultiKey, Task::kMultiValue,
                                  Task::kDistractors, Task::kMixed};
// "single", "multi-key" and so on.
std::string TaskName(Task task);

// Which phrasings of a catalogue: those that the model was trained on, the others, or both.
enum class Phrasings { kTrained, kHeldOut, kAll };

struct Fact {
  std::vector<std::string> statements;  // sentences, one for each answer; none: not stated
  std::string question;
  std::vector<std::string> answers;
  std::string relation;  // its title
  std::string values;    // the list that the answers come from
  Task task = Task::kSingle;
};

// What a model is to say when the document does not hold the answer.
inline constexpr char kNotStated[] = "not stated";

// Whether an invented name is one of the eighth that no model of ours was trained on: those whose
// CRC-32 divides by 8.
bool IsHeldOutName(std::string_view name);

// Invented names are held-out ones only. Not thread-safe. Equal seeds give equal facts on every
// machine.
class FactMaker {
 public:
  // Uses relations with a statement and a question as `phrasings` wants them; INVALID_ARGUMENT when
  // there is none. `catalogue` must outlive the maker.
  static absl::StatusOr<FactMaker> Create(const FactCatalogue* catalogue, Phrasings phrasings,
                                          uint64_t seed);

  // Names that occur in `text`, which must outlive the maker, will not be given out.
  void AvoidNamesOf(std::string_view text) { avoided_ = text; }

  // `count` facts of different things, none of which another call of this maker gave.
  // INVALID_ARGUMENT when the catalogue has too few of them.
  absl::StatusOr<std::vector<Fact>> Make(Task task, int64_t count);

  // A question that the facts made so far do not answer, like one of them but for its thing. Its
  // answer is kNotStated.
  absl::StatusOr<Fact> MakeUnstated();

  int64_t relations() const { return static_cast<int64_t>(usable_.size()); }

 private:
  // A relation with a kind of thing: what facts of a group have in common.
  struct Subject {
    size_t relation = 0;
    size_t kind = 0;
  };

  FactMaker(const FactCatalogue* catalogue, Phrasings phrasings, uint64_t seed)
      : catalogue_(catalogue), phrasings_(phrasings), random_(seed) {}

  // Appends a group of `count` facts of one subject; false, and nothing, when that subject has not
  // enough.
  bool AddGroup(Task task, int64_t count, std::vector<Fact>* facts);
  // `values` answers, none of them `other`; false when there are none such.
  bool MakeFact(const Subject& subject, size_t values, const std::string& other, Fact* fact);
  Subject RandomSubject();
  bool Wanted(const Phrasing& phrasing) const;
  const Phrasing& Pick(const std::vector<Phrasing>& from);
  std::string Fill(const Phrasing& phrasing, const Relation& relation, const std::string& thing,
                   const std::string& value);
  // A thing that is no part of one given out before, nor the other way round; empty: none found.
  std::string NewThing(size_t kind);
  std::string Expand(const Alternative& alternative);
  std::string Expand(const Piece& piece);
  std::string Name();

  const FactCatalogue* catalogue_;
  Phrasings phrasings_;
  SplitMix64 random_;
  std::vector<size_t> usable_;  // relations
  std::string_view avoided_;
  std::set<std::string> names_;      // given out
  std::vector<std::string> things_;  // given out, in small letters
  std::vector<Subject> asked_;       // of the facts made
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_FACTS_H_
