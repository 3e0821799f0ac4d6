// "--name value" and "--name" on the soak programs' command lines.
#ifndef LONGLEAF_TESTS_SOAK_FLAGS_H_
#define LONGLEAF_TESTS_SOAK_FLAGS_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace longleaf::soak {

// Every flag is asked for exactly once, then Check is called.
class Flags {
 public:
  Flags(int argc, char** argv) : left_(argv + 1, argv + argc) {}

  std::string Text(const std::string& name, const std::string& otherwise) {
    for (size_t i = 0; i + 1 < left_.size(); ++i) {
      if (left_[i] == name) {
        const std::string value = left_[i + 1];
        left_.erase(left_.begin() + static_cast<std::ptrdiff_t>(i),
                    left_.begin() + static_cast<std::ptrdiff_t>(i) + 2);
        return value;
      }
    }
    return otherwise;
  }
  int64_t Number(const std::string& name, int64_t otherwise) {
    return std::atoll(Text(name, std::to_string(otherwise)).c_str());
  }
  bool Given(const std::string& name) { return std::erase(left_, name) > 0; }

  // False, and says so, when there is a word that nobody asked for.
  bool Check() const {
    for (const std::string& word : left_) {
      std::fprintf(stderr, "unknown: %s\n", word.c_str());
    }
    return left_.empty();
  }

 private:
  std::vector<std::string> left_;
};

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_FLAGS_H_
