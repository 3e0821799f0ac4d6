// Results as aligned columns, for people.
#ifndef LONGLEAF_SERVICE_EVAL_TABLE_H_
#define LONGLEAF_SERVICE_EVAL_TABLE_H_

#include <string>
#include <vector>

namespace longleaf::service::eval {

// The first column is aligned to the left, the others to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  // As many cells as the header has, or fewer.
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_TABLE_H_
