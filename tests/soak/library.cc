#include "tests/soak/library.h"

#include <openssl/sha.h>

#include <algorithm>

#include "service/eval/fact_catalogue.h"

namespace longleaf::soak {
namespace {

// Log-probabilities. Twice the design's bound on rounding (1e-4 of the row's largest value) is
// below this for the built-in model.
constexpr float kUndecided = 0.02f;

std::string Sentences(Random& random, int64_t bytes) {
  static constexpr const char* kWords[] = {"river", "the",   "mill",  "stood", "a",    "long",
                                           "road",  "and",   "house", "water", "over", "hill",
                                           "they",  "went",  "by",    "night", "to",   "town",
                                           "café",  "naïve", "Größe", "— so",  "東京", "🌿"};
  std::string text;
  while (static_cast<int64_t>(text.size()) < bytes) {
    text += kWords[random.Below(std::size(kWords))];
    text += random.OneIn(12) ? ". " : " ";
  }
  return text + ". ";
}

// Facts among sentences, each about `spread` bytes from the other.
void Extend(Random& random, service::eval::FactMaker& maker, int64_t bytes, Text* text) {
  const int64_t end = static_cast<int64_t>(text->bytes.size()) + bytes;
  while (static_cast<int64_t>(text->bytes.size()) < end) {
    const int64_t left = end - static_cast<int64_t>(text->bytes.size());
    text->bytes += Sentences(random, std::min<int64_t>(left, 100 + random.Below(800)));
    if (text->facts.size() < 40) {
      auto pair = maker.Make(service::eval::Task::kDistractors, 2);
      if (!pair.ok()) continue;
      for (service::eval::Fact& fact : *pair) {
        text->bytes += fact.statements.front() + " ";
        text->facts.push_back(std::move(fact));
      }
    }
  }
}

void Seal(Text* text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text->bytes.data()), text->bytes.size(), digest);
  text->sha256.assign(reinterpret_cast<const char*>(digest), sizeof(digest));
}

}  // namespace

int64_t Random::Below(int64_t below) {
  state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  uint64_t x = state_ ^ (state_ >> 29);
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 32;
  return static_cast<int64_t>(x % static_cast<uint64_t>(below));
}

Library::Library(uint64_t seed, int64_t texts, int64_t largest, Tally* tally) : tally_(tally) {
  // The plain ones, which any demo model should know: JudgeTruth wants half of the answers true.
  const auto catalogue =
      service::eval::FactCatalogue::Load(LONGLEAF_SOURCE_DIR "/tests/eval/facts.txt");
  if (!catalogue.ok()) {
    tally_->Finding("no facts", std::string(catalogue.status().message()));
    return;
  }
  for (int64_t i = 0; i + 1 < texts; i += 2) {
    Random random(seed * 1000 + static_cast<uint64_t>(i));
    auto maker = service::eval::FactMaker::Create(&*catalogue, service::eval::Phrasings::kTrained,
                                                  seed * 1000 + static_cast<uint64_t>(i));
    if (!maker.ok()) {
      tally_->Finding("no facts", std::string(maker.status().message()));
      return;
    }
    // Of the first; the second has at most twice as much.
    const int64_t most = largest / 2;
    int64_t bytes = 200 + random.Below(std::min<int64_t>(5000, most));
    if (random.OneIn(5)) {
      bytes = most / 2 + random.Below(most / 2);
    } else if (random.OneIn(4)) {
      bytes = 1 + random.Below(most / 4);
    }
    Text first;
    Extend(random, *maker, bytes, &first);
    Text second = first;
    Extend(random, *maker, 1 + random.Below(bytes), &second);
    Seal(&first);
    Seal(&second);
    texts_.push_back(std::move(first));
    texts_.push_back(std::move(second));
  }
}

void Library::CheckAnswer(int64_t i, int64_t fact, int64_t visible, const AskResult& answer) {
  const Key key = {i, fact, visible};
  Answer before;
  {
    MutexLock lock(&mutex_);
    const auto [it, first] =
        answers_.emplace(key, Answer{answer.text, answer.tokens, answer.margins});
    if (first) {
      const auto& truth = text(i).facts[static_cast<size_t>(fact)].answers.front();
      tally_->Count("answers: new");
      tally_->Count("answers: new, as the text says", answer.text == truth ? 1 : 0);
      return;
    }
    before = it->second;
  }
  Compare(key, before, answer, /*whole=*/true);
}

void Library::JudgeTruth() const {
  const int64_t all = tally_->Of("answers: new");
  const int64_t right = tally_->Of("answers: new, as the text says");
  if (all >= 40 && right * 2 < all) {
    tally_->Finding("untrue answers",
                    std::to_string(right) + " of " + std::to_string(all) + " are right");
  }
}

void Library::CheckBeginning(int64_t i, int64_t fact, int64_t visible, const AskResult& answer) {
  const Key key = {i, fact, visible};
  Answer before;
  {
    MutexLock lock(&mutex_);
    const auto it = answers_.find(key);
    if (it == answers_.end()) {
      return;
    }
    before = it->second;
  }
  Compare(key, before, answer, /*whole=*/false);
}

void Library::Compare(const Key& key, const Answer& before, const AskResult& now, bool whole) {
  const size_t common = std::min(before.tokens.size(), now.tokens.size());
  size_t at = 0;
  while (at < common && before.tokens[at] == now.tokens[at]) {
    ++at;
  }
  const bool same =
      whole ? before.tokens == now.tokens && before.text == now.text : at == now.tokens.size();
  if (same) {
    tally_->Count("answers: the same again");
    return;
  }
  const float margin = at < common ? std::min(before.margins[at], now.margins[at]) : 1;
  if (margin < kUndecided) {
    tally_->Count("answers: undecided by rounding");
    return;
  }
  tally_->Finding("wrong answer",
                  "text " + std::to_string(key[0]) + " question " + std::to_string(key[1]) +
                      " visible " + std::to_string(key[2]) + ": \"" + now.text + "\" (tier " +
                      std::to_string(now.started.tier()) + ", reused " +
                      std::to_string(now.started.tokens_reused()) + ", prefilled " +
                      std::to_string(now.started.tokens_prefilled()) + "), before \"" +
                      before.text + "\", margin " + std::to_string(margin));
}

}  // namespace longleaf::soak
