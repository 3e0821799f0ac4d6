// The kinds of facts that a model is asked about, read from facts.txt: lists of values, kinds of
// things, and relations between them with the sentences that state and ask them.
//
//   list day = Monday | Tuesday           values; a line `list day += ...` continues one
//   kind village = the village of {name}  things, written in the same way
//   relation village : mayor : person     kinds : what generic phrasings call it : list of answers
//   s {v} runs the affairs of {e}.        a statement of that relation
//   q* Who runs the affairs of {e}?       a question; * is a phrasing never trained on
//   generic                               after it, phrasings for every relation that has a noun
//
// In an alternative {other} is one of list `other`, {2..99} a whole number, {name} an invented
// name, {digit} and {letter} one of 0-9 and A-Z. In a phrasing {e} is the thing, {v} the answer,
// {n} the noun; the capital letters are the same with a capital first letter.
#ifndef LONGLEAF_SERVICE_EVAL_FACT_CATALOGUE_H_
#define LONGLEAF_SERVICE_EVAL_FACT_CATALOGUE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longleaf::service::eval {

// A part of an alternative: text as it stands, or what is put in its place.
struct Piece {
  enum class Kind { kText, kList, kNumber, kName, kDigit, kLetter };
  Kind kind = Kind::kText;
  std::string text;  // kText
  size_t list = 0;   // kList: index into FactCatalogue::lists()
  int64_t low = 0;   // kNumber: low..high
  int64_t high = 0;
};
using Alternative = std::vector<Piece>;

struct ValueList {
  std::string name;
  std::vector<Alternative> alternatives;  // at least one
};

struct Phrasing {
  std::string text;
  bool held_out = false;
};

struct Relation {
  std::string title;               // for people: its line in the file, without the first word
  std::vector<size_t> kinds;       // at least one, into FactCatalogue::kinds()
  std::vector<std::string> nouns;  // may be empty
  std::string values;              // the list of its answers, by name
  Piece answer;                    // the same, resolved
  // Its own, and where it has a noun the generic ones after them. At least one of each.
  std::vector<Phrasing> statements;
  std::vector<Phrasing> questions;
};

// Immutable.
class FactCatalogue {
 public:
  static constexpr int64_t kMaxFileBytes = 4 << 20;
  static constexpr size_t kMaxLists = 4096;         // and as many kinds, and relations
  static constexpr size_t kMaxExpandedBytes = 512;  // of a value or a thing, however it turns out
  static constexpr size_t kMaxNesting = 16;         // lists within lists

  // INVALID_ARGUMENT names the file, the line and what is wrong with it: an entry or placeholder of
  // no known form, a name that is not there or there twice, lists that contain themselves, a
  // phrasing without the thing or the answer, anything above the bounds, bytes that are not UTF-8.
  static absl::StatusOr<FactCatalogue> Load(const std::string& path);
  // The same from text; `name` stands for the file in errors.
  static absl::StatusOr<FactCatalogue> Parse(std::string_view text, const std::string& name);

  const std::vector<ValueList>& lists() const { return lists_; }
  const std::vector<ValueList>& kinds() const { return kinds_; }
  const std::vector<Relation>& relations() const { return relations_; }  // at least one

 private:
  friend class CatalogueParser;
  FactCatalogue() = default;

  std::vector<ValueList> lists_;
  std::vector<ValueList> kinds_;
  std::vector<Relation> relations_;
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_FACT_CATALOGUE_H_
