#include "service/eval/squad_score.h"

#include <algorithm>
#include <cstdint>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace longleaf::service::eval {
namespace {

double F1(const std::vector<std::string>& said, const std::vector<std::string>& expected) {
  if (said.empty() || expected.empty()) return said == expected ? 1 : 0;
  std::map<std::string, int64_t> left;
  for (const std::string& word : expected) ++left[word];
  int64_t common = 0;
  for (const std::string& word : said) {
    const auto found = left.find(word);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++common;
  }
  // The harmonic mean of common / said and common / expected.
  return 2.0 * static_cast<double>(common) / static_cast<double>(said.size() + expected.size());
}

}  // namespace

std::vector<std::string> AnswerWords(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_ispunct(byte)) clean += absl::ascii_tolower(byte);
  }
  std::vector<std::string> words =
      absl::StrSplit(clean, absl::ByAnyChar(" \t\n\r\v\f"), absl::SkipEmpty());
  words.erase(std::remove_if(words.begin(), words.end(),
                             [](const std::string& word) {
                               return word == "a" || word == "an" || word == "the";
                             }),
              words.end());
  return words;
}

bool ContainsWords(const std::vector<std::string>& whole, const std::vector<std::string>& part) {
  return !part.empty() &&
         std::search(whole.begin(), whole.end(), part.begin(), part.end()) != whole.end();
}

AnswerScore ScoreAnswer(std::string_view answer, const std::vector<std::string>& expected) {
  const std::vector<std::string> said = AnswerWords(answer);
  AnswerScore best;
  for (const std::string& one : expected) {
    const std::vector<std::string> words = AnswerWords(one);
    best.exact = std::max(best.exact, said == words ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, F1(said, words));
  }
  return best;
}

}  // namespace longleaf::service::eval
