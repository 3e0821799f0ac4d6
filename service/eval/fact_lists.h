// The lists and kinds of facts.txt while it is read: names, alternatives, and how long what they
// stand for can get. A part of fact_catalogue.
#ifndef LONGLEAF_SERVICE_EVAL_FACT_LISTS_H_
#define LONGLEAF_SERVICE_EVAL_FACT_LISTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "service/eval/fact_catalogue.h"

namespace longleaf::service::eval {

// Literal text, or what stands between two braces.
struct BracedText {
  absl::string_view text;
  bool placeholder = false;
};

// The parts of `text`, in order, which they point into; nothing where braces do not match.
std::optional<std::vector<BracedText>> CutBraces(absl::string_view text);

// Errors are INVALID_ARGUMENT "line N: ...".
class FactLists {
 public:
  // An entry's text after its first word: "NAME = ..." or "NAME += ...".
  absl::Status AddList(absl::string_view entry, int64_t line) { return Add(entry, line, lists_); }
  absl::Status AddKind(absl::string_view entry, int64_t line) { return Add(entry, line, kinds_); }

  // Resolves all names, once everything has been added.
  absl::Status Finish();

  // ---- after Finish
  absl::StatusOr<Piece> Placeholder(absl::string_view text, int64_t line) const;
  std::optional<size_t> FindKind(absl::string_view name) const;
  std::vector<ValueList> TakeLists() { return std::move(lists_.lists); }
  std::vector<ValueList> TakeKinds() { return std::move(kinds_.lists); }

 private:
  struct Unresolved {
    std::string text;  // an alternative
    int64_t line = 0;
  };
  struct Table {
    std::vector<ValueList> lists;
    std::vector<std::vector<Unresolved>> texts;  // [lists.size()]
    std::map<std::string, size_t, std::less<>> index;
  };
  // How long an expansion can get, and how deep lists lie in it.
  struct Extent {
    enum class Mark { kNew, kOpen, kDone } mark = Mark::kNew;
    size_t bytes = 0;
    size_t nesting = 0;
  };

  absl::Status Add(absl::string_view entry, int64_t line, Table& into);
  absl::StatusOr<Alternative> Resolve(const Unresolved& unresolved) const;
  absl::Status MeasureList(size_t i);
  absl::Status Measure(const ValueList& list, const std::vector<Unresolved>& texts, Extent& extent);

  Table lists_;
  Table kinds_;
  std::vector<Extent> extents_;  // [lists_.lists.size()]
  size_t depth_ = 0;             // of MeasureList within itself
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_FACT_LISTS_H_
