#include "service/bench/workload.h"

#include <array>
#include <cctype>
#include <random>
#include <string_view>
#include <utility>

namespace longleaf::service::bench {
namespace {

constexpr std::array<std::string_view, 32> kWords = {
    "the",   "river", "stood", "by",   "a",    "mill", "where", "people", "came",  "in",  "winter",
    "and",   "told",  "of",    "town", "long", "road", "north", "house",  "water", "ran", "over",
    "stone", "night", "they",  "kept", "book", "that", "said",  "what",   "hill",  "was"};

// Deals all words in a random order, then all again: so many bytes of any text are about as many
// tokens.
class Words {
 public:
  explicit Words(uint64_t seed) : random_(seed) {}
  std::string_view Next() {
    if (at_ % deck_.size() == 0) {
      for (size_t i = deck_.size() - 1; i > 0; --i) {
        std::swap(deck_[i], deck_[random_() % (i + 1)]);
      }
    }
    return deck_[at_++ % deck_.size()];
  }
  bool EndsSentence() { return at_ % 11 == 0; }

 private:
  std::mt19937_64 random_;
  std::array<std::string_view, kWords.size()> deck_ = kWords;
  size_t at_ = 0;
};

void Capitalise(std::string* text, size_t at) {
  (*text)[at] = static_cast<char>(std::toupper(static_cast<unsigned char>((*text)[at])));
}

}  // namespace

std::string DocumentText(int64_t bytes, uint64_t seed) {
  Words words(seed);
  std::string text;
  bool sentence = true;  // the next word begins one
  for (;;) {
    const std::string_view word = words.Next();
    const size_t longer = text.size() + (text.empty() ? 0 : 1) + word.size() + 1;
    if (!text.empty() && static_cast<int64_t>(longer) > bytes) {
      break;
    }
    if (!text.empty()) {
      text += ' ';
    }
    text += word;
    if (sentence) {
      Capitalise(&text, text.size() - word.size());
    }
    sentence = words.EndsSentence();
    if (sentence) {
      text += '.';
    }
  }
  return text;
}

std::string QuestionText(int64_t bytes, uint64_t seed) {
  Words words(seed);
  std::string text(words.Next());
  Capitalise(&text, 0);
  for (;;) {
    const std::string_view word = words.Next();
    if (static_cast<int64_t>(text.size() + 1 + word.size() + 1) > bytes) {
      break;
    }
    text += ' ';
    text += word;
  }
  return text + "?";
}

}  // namespace longleaf::service::bench
