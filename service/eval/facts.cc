#include "service/eval/facts.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace longleaf::service::eval {
namespace {

constexpr int kTries = 60;             // for a new thing, a new value
constexpr int kSubjects = 200;         // for a relation that has enough of both
constexpr size_t kSeveral = 3;         // answers of a multi-value question
constexpr int64_t kMixedMultiKey = 4;  // facts of one relation among mixed ones

// The parts of invented names: those of the training (model/demo/training/catalogue.py).
constexpr const char* kOnsets[] = {"b",  "br", "c",  "ch", "cl", "d",  "dr", "f",  "fl", "g",
                                   "gl", "gr", "h",  "j",  "k",  "kl", "kr", "l",  "m",  "n",
                                   "p",  "pl", "pr", "qu", "r",  "s",  "sc", "sh", "sk", "sl",
                                   "sp", "st", "t",  "th", "tr", "v",  "w",  "y",  "z"};
constexpr const char* kVowels[] = {"a",  "e",  "i",  "o",  "u",  "a",  "e",  "i",  "o", "u",
                                   "ai", "ea", "ee", "ia", "io", "oa", "oo", "ou", "y"};
constexpr const char* kCodas[] = {"b",  "ck", "d",  "f", "g",  "k",  "l",  "ll", "m",  "n",
                                  "nd", "ng", "nt", "p", "r",  "rd", "rk", "rn", "rt", "s",
                                  "sh", "ss", "st", "t", "th", "v",  "x",  "z"};
constexpr int64_t kNoCoda = 14;  // as often as this many of kCodas
constexpr const char* kEndings[] = {
    "a",     "o",     "i",    "en",    "er",    "el",   "ow",    "ett",   "ard",  "ford", "ham",
    "ley",   "mere",  "well", "ton",   "stead", "dale", "brook", "ridge", "vale", "ina",  "son",
    "sen",   "ski",   "sky",  "ova",   "ez",    "ian",  "ini",   "elli",  "oni",  "eau",  "wick",
    "worth", "field", "man",  "stein", "berg",  "mann", "hofer", "ura",   "moto", "ka",   "shi",
    "ong",   "in",    "ur",   "ash",   "esh",   "it",   "al",    "os",    "is",   "us",   "um",
    "ia",    "ora",   "ene",  "ell",   "and",   "im",   "ul"};

uint32_t Crc32(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

std::string Capitalised(std::string text) {
  if (!text.empty()) text[0] = absl::ascii_toupper(static_cast<unsigned char>(text[0]));
  return text;
}

template <size_t N>
const char* PickOne(const char* const (&from)[N], SplitMix64& random) {
  return from[static_cast<size_t>(random.Below(N))];
}

// Whether one of two texts is in the other.
bool Overlap(const std::string& a, const std::string& b) {
  return absl::StrContains(a, b) || absl::StrContains(b, a);
}

}  // namespace

std::string TaskName(Task task) {
  switch (task) {
    case Task::kSingle:
      return "single";
    case Task::kMultiKey:
      return "multi-key";
    case Task::kMultiValue:
      return "multi-value";
    case Task::kDistractors:
      return "distractors";
    case Task::kMixed:
      return "mixed";
  }
  return "";
}

bool IsHeldOutName(std::string_view name) { return Crc32(name) % 8 == 0; }

absl::StatusOr<FactMaker> FactMaker::Create(const FactCatalogue* catalogue, Phrasings phrasings,
                                            uint64_t seed) {
  FactMaker maker(catalogue, phrasings, seed);
  const auto any = [&maker](const std::vector<Phrasing>& some) {
    return std::any_of(some.begin(), some.end(),
                       [&maker](const Phrasing& phrasing) { return maker.Wanted(phrasing); });
  };
  for (size_t i = 0; i < catalogue->relations().size(); ++i) {
    const Relation& relation = catalogue->relations()[i];
    if (any(relation.statements) && any(relation.questions)) maker.usable_.push_back(i);
  }
  if (maker.usable_.empty()) {
    return absl::InvalidArgumentError(
        "no relation of the facts has both a statement and a question of the phrasings wanted");
  }
  return maker;
}

bool FactMaker::Wanted(const Phrasing& phrasing) const {
  return phrasings_ == Phrasings::kAll || phrasing.held_out == (phrasings_ == Phrasings::kHeldOut);
}

const Phrasing& FactMaker::Pick(const std::vector<Phrasing>& from) {
  std::vector<const Phrasing*> wanted;
  for (const Phrasing& phrasing : from) {
    if (Wanted(phrasing)) wanted.push_back(&phrasing);
  }
  return *wanted[static_cast<size_t>(random_.Below(static_cast<int64_t>(wanted.size())))];
}

std::string FactMaker::Fill(const Phrasing& phrasing, const Relation& relation,
                            const std::string& thing, const std::string& value) {
  std::string noun;
  if (!relation.nouns.empty()) {
    noun =
        relation
            .nouns[static_cast<size_t>(random_.Below(static_cast<int64_t>(relation.nouns.size())))];
  }
  return Capitalised(absl::StrReplaceAll(phrasing.text, {{"{e}", thing},
                                                         {"{E}", Capitalised(thing)},
                                                         {"{v}", value},
                                                         {"{V}", Capitalised(value)},
                                                         {"{n}", noun},
                                                         {"{N}", Capitalised(noun)}}));
}

std::string FactMaker::Name() {
  while (true) {
    std::string name;
    const auto syllable = [&] {
      name += PickOne(kVowels, random_);
      const auto coda = static_cast<size_t>(random_.Below(std::size(kCodas) + kNoCoda));
      if (coda < std::size(kCodas)) name += kCodas[coda];
    };
    if (random_.Below(100) < 85) name += PickOne(kOnsets, random_);
    constexpr int kMiddles[] = {0, 0, 1, 1, 1, 2};
    for (int i = kMiddles[random_.Below(std::size(kMiddles))]; i > 0; --i) syllable();
    if (random_.Below(10) < 3) {
      syllable();
    } else {
      name += PickOne(kEndings, random_);
    }
    name = Capitalised(std::move(name));
    if (name.size() >= 4 && name.size() <= 10 && IsHeldOutName(name) &&
        avoided_.find(name) == std::string_view::npos && names_.insert(name).second) {
      return name;
    }
  }
}

std::string FactMaker::Expand(const Piece& piece) {
  switch (piece.kind) {
    case Piece::Kind::kText:
      return piece.text;
    case Piece::Kind::kList: {
      const auto& alternatives = catalogue_->lists()[piece.list].alternatives;
      return Expand(alternatives[static_cast<size_t>(
          random_.Below(static_cast<int64_t>(alternatives.size())))]);
    }
    case Piece::Kind::kNumber:
      return absl::StrCat(piece.low + random_.Below(piece.high - piece.low + 1));
    case Piece::Kind::kName:
      return Name();
    case Piece::Kind::kDigit:
      return std::string(1, static_cast<char>('0' + random_.Below(10)));
    case Piece::Kind::kLetter:
      return std::string(1, static_cast<char>('A' + random_.Below(26)));
  }
  return "";
}

std::string FactMaker::Expand(const Alternative& alternative) {
  std::string text;
  for (const Piece& piece : alternative) text += Expand(piece);
  return text;
}

std::string FactMaker::NewThing(size_t kind) {
  const auto& alternatives = catalogue_->kinds()[kind].alternatives;
  for (int i = 0; i < kTries; ++i) {
    std::string thing = Expand(alternatives[static_cast<size_t>(
        random_.Below(static_cast<int64_t>(alternatives.size())))]);
    std::string small = absl::AsciiStrToLower(thing);
    if (std::none_of(things_.begin(), things_.end(),
                     [&small](const std::string& other) { return Overlap(small, other); })) {
      things_.push_back(std::move(small));
      return thing;
    }
  }
  return "";
}

FactMaker::Subject FactMaker::RandomSubject() {
  Subject subject;
  subject.relation =
      usable_[static_cast<size_t>(random_.Below(static_cast<int64_t>(usable_.size())))];
  const std::vector<size_t>& kinds = catalogue_->relations()[subject.relation].kinds;
  subject.kind = kinds[static_cast<size_t>(random_.Below(static_cast<int64_t>(kinds.size())))];
  return subject;
}

bool FactMaker::MakeFact(const Subject& subject, size_t values, const std::string& other,
                         Fact* fact) {
  const Relation& relation = catalogue_->relations()[subject.relation];
  const std::string thing = NewThing(subject.kind);
  if (thing.empty()) return false;
  fact->relation = relation.title;
  fact->values = relation.values;
  for (int i = 0; i < kTries && fact->answers.size() < values; ++i) {
    std::string value = Expand(relation.answer);
    const auto like = [&value](const std::string& one) { return Overlap(one, value); };
    if (value == other || std::any_of(fact->answers.begin(), fact->answers.end(), like)) continue;
    fact->statements.push_back(Fill(Pick(relation.statements), relation, thing, value));
    fact->answers.push_back(std::move(value));
  }
  fact->question = Fill(Pick(relation.questions), relation, thing, "");
  return fact->answers.size() == values;
}

bool FactMaker::AddGroup(Task task, int64_t count, std::vector<Fact>* facts) {
  const Subject subject = RandomSubject();
  const size_t before = facts->size();
  const size_t things = things_.size();
  for (int64_t i = 0; i < count; ++i) {
    Fact fact;
    fact.task = task;
    const std::string other =
        task == Task::kDistractors && i > 0 ? facts->back().answers.front() : "";
    if (!MakeFact(subject, task == Task::kMultiValue ? kSeveral : 1, other, &fact)) {
      facts->resize(before);
      things_.resize(things);
      return false;
    }
    facts->push_back(std::move(fact));
  }
  asked_.push_back(subject);
  return true;
}

absl::StatusOr<std::vector<Fact>> FactMaker::Make(Task task, int64_t count) {
  std::vector<Fact> facts;
  int failures = 0;
  for (size_t turn = 0; static_cast<int64_t>(facts.size()) < count; ++turn) {
    constexpr Task kEach[] = {Task::kDistractors, Task::kMultiKey, Task::kSingle,
                              Task::kMultiValue};
    const Task group = task == Task::kMixed ? kEach[turn % std::size(kEach)] : task;
    int64_t wanted = 1;
    if (group == Task::kDistractors) wanted = 2;
    if (group == Task::kMultiKey) wanted = task == Task::kMixed ? kMixedMultiKey : count;
    wanted = std::min(wanted, count - static_cast<int64_t>(facts.size()));
    while (!AddGroup(group, wanted, &facts)) {
      if (++failures == kSubjects) {
        return absl::InvalidArgumentError(
            absl::StrCat("the catalogue has not enough things or answers for ", count,
                         " facts of the task ", TaskName(task)));
      }
    }
  }
  return facts;
}

absl::StatusOr<Fact> FactMaker::MakeUnstated() {
  for (int i = 0; i < kSubjects; ++i) {
    const Subject subject =
        asked_.empty()
            ? RandomSubject()
            : asked_[static_cast<size_t>(random_.Below(static_cast<int64_t>(asked_.size())))];
    Fact fact;
    if (!MakeFact(subject, 1, "", &fact)) continue;
    fact.statements.clear();
    fact.answers = {kNotStated};
    return fact;
  }
  return absl::InvalidArgumentError("the catalogue has not enough things to ask of in vain");
}

}  // namespace longleaf::service::eval
