#include "service/eval/facts.h"

#include <array>
#include <cstddef>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace longleaf::service::eval {
namespace {

enum EntityKind : size_t { kVillage, kShip, kCompany, kMuseum, kHotel, kDevice, kContract, kTeam };
enum ValueKind : size_t {
  kPerson,
  kPlace,
  kCount,   // 2..99
  kPeople,  // 11..999
  kYear,
  kDay,
  kHour,
  kMaterial,
  kColour,
  kLength,
  kWeight,
  kAmount,
  kTerm,
  kSerial,
};

// {e} is the thing, {E} the same with a capital letter, {v} the answer.
struct Relation {
  EntityKind entity;
  ValueKind value;
  const char* statement;
  const char* question;
};

constexpr Relation kRelations[] = {
    {kVillage, kPerson, "The mayor of {e} is {v}.", "Who is the mayor of {e}?"},
    {kVillage, kPeople, "The population of {e} is {v}.", "How many people live in {e}?"},
    {kVillage, kDay, "The market of {e} is held on {v}.", "On which day is the market of {e}?"},
    {kShip, kPerson, "{v} commands {e}.", "Who commands {e}?"},
    {kShip, kPlace, "{E} sails from {v}.", "Where does {e} sail from?"},
    {kShip, kLength, "{E} is {v} long.", "What is the length of {e}?"},
    {kShip, kMaterial, "{E} carries {v}.", "What does {e} carry?"},
    {kCompany, kYear, "{E} was founded in {v}.", "In which year was {e} founded?"},
    {kCompany, kMaterial, "{E} makes {v}.", "What does {e} make?"},
    {kCompany, kPlace, "{E} has its head office in {v}.", "Where is the head office of {e}?"},
    {kMuseum, kHour, "{E} opens at {v}.", "At what time does {e} open?"},
    {kMuseum, kDay, "{E} is closed on {v}.", "On which day is {e} closed?"},
    {kMuseum, kPerson, "{v} directs {e}.", "Who directs {e}?"},
    {kHotel, kCount, "{E} has {v} rooms.", "How many rooms does {e} have?"},
    {kHotel, kAmount, "A room in {e} costs {v}.", "What does a room in {e} cost?"},
    {kDevice, kSerial, "The serial number of {e} is {v}.", "What is the serial number of {e}?"},
    {kDevice, kWeight, "{E} weighs {v}.", "How much does {e} weigh?"},
    {kDevice, kColour, "{E} is painted {v}.", "What colour is {e}?"},
    {kContract, kAmount, "{E} is worth {v}.", "How much is {e} worth?"},
    {kContract, kTerm, "{E} runs for {v}.", "How long does {e} run?"},
    {kTeam, kColour, "{E} plays in {v}.", "What colour does {e} play in?"},
    {kTeam, kCount, "{E} scored {v} points.", "How many points did {e} score?"},
};

// One name in eight was kept from the built-in model's training: those whose CRC-32 divides by 8.
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

std::string Fill(const char* phrase, const std::string& entity, const std::string& value) {
  return Capitalised(
      absl::StrReplaceAll(phrase, {{"{e}", entity}, {"{E}", Capitalised(entity)}, {"{v}", value}}));
}

}  // namespace

const char* FactMaker::Pick(const std::vector<const char*>& from) {
  return from[static_cast<size_t>(random_.Below(static_cast<int64_t>(from.size())))];
}

std::string FactMaker::Name() {
  static const std::vector<const char*>& onsets = *new std::vector<const char*>{
      "b", "br", "c",  "cl", "d", "dr", "f",  "g", "gr", "h",  "k", "l", "m",
      "n", "p",  "qu", "r",  "s", "sh", "st", "t", "th", "tr", "v", "w"};
  static const std::vector<const char*>& middles = *new std::vector<const char*>{
      "ad", "al", "am", "ar", "ed", "el", "en", "er", "ess", "ill", "in",
      "ir", "ob", "ol", "on", "or", "um", "un", "ur", "ast", "end", "ock"};
  static const std::vector<const char*>& ends = *new std::vector<const char*>{
      "a",   "o",    "el",   "en",  "er",    "ow",   "ett",   "ard",   "ford", "ham",
      "ley", "mere", "well", "ton", "stead", "dale", "brook", "ridge", "vale", "ina"};
  while (true) {
    const std::string name = Capitalised(absl::StrCat(Pick(onsets), Pick(middles), Pick(ends)));
    if (name.size() >= 4 && name.size() <= 9 && Crc32(name) % 8 == 0 && used_.insert(name).second) {
      return name;
    }
    // Two syllables are enough for a thousand names; beyond that, three.
    if (used_.size() > 600) {
      const std::string longer = absl::StrCat(name, Pick(middles), Pick(ends));
      if (Crc32(longer) % 8 == 0 && used_.insert(longer).second) return longer;
    }
  }
}

std::string FactMaker::Entity(size_t kind) {
  switch (kind) {
    case kVillage:
      return absl::StrCat("the ", Pick({"village", "town"}), " of ", Name());
    case kShip:
      return absl::StrCat("the ", Pick({"ship", "vessel"}), " ", Name());
    case kCompany:
      return absl::StrCat(Name(), " ", Pick({"Works", "Mills", "Brothers", "Bank"}));
    case kMuseum:
      return absl::StrCat("the ", Name(), " ", Pick({"museum", "gallery", "library"}));
    case kHotel:
      return absl::StrCat("the ", Name(), " ", Pick({"hotel", "inn"}));
    case kDevice:
      return absl::StrCat("the ", Name(), " ", Pick({"pump", "engine", "boiler", "crane"}));
    case kContract:
      return absl::StrCat("the ", Name(), " contract");
    default:
      return absl::StrCat("the ", Name(), " team");
  }
}

std::string FactMaker::Value(size_t kind) {
  const auto number = [this](int64_t low, int64_t high) {
    return absl::StrCat(low + random_.Below(high - low + 1));
  };
  switch (kind) {
    case kPerson:
      return absl::StrCat(Pick({"Alice", "Clara", "Daniel", "Edith", "Felix", "Grace", "Henry",
                                "Ida", "Jonas", "Laura", "Miriam", "Oscar", "Ruth", "Simon"}),
                          " ", Name());
    case kPlace:
      return random_.Below(2) == 0 ? Name()
                                   : Pick({"Bergen", "Lisbon", "Naples", "Dublin", "Hamburg",
                                           "Glasgow", "Venice", "Boston", "Cadiz", "Malta"});
    case kCount:
      return number(2, 99);
    case kPeople:
      return number(11, 999);
    case kYear:
      return number(1700, 1999);
    case kDay:
      return Pick({"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"});
    case kHour:
      return absl::StrCat(number(1, 12), ":", Pick({"00", "15", "30", "45"}));
    case kMaterial:
      return Pick({"iron", "copper", "glass", "paper", "wool", "rope", "salt", "timber", "coal",
                   "silk", "leather", "marble"});
    case kColour:
      return Pick({"red", "blue", "green", "yellow", "black", "white", "orange", "purple", "brown",
                   "grey", "silver"});
    case kLength:
      return absl::StrCat(number(20, 400), " feet");
    case kWeight:
      return absl::StrCat(number(20, 950), " ", Pick({"kg", "tons", "pounds"}));
    case kAmount:
      return absl::StrCat(number(20, 990), " ", Pick({"dollars", "pounds"}));
    case kTerm:
      return absl::StrCat(number(2, 60), " ", Pick({"days", "weeks", "months", "years"}));
    default:
      return absl::StrCat(Pick({"A", "B", "D", "F", "H", "K", "M", "P", "R", "T"}), "-",
                          number(10, 999));
  }
}

Fact FactMaker::MakeFact(size_t relation, const std::string& other_answer) {
  const Relation& chosen = kRelations[relation];
  const std::string entity = Entity(chosen.entity);
  std::string value = Value(chosen.value);
  while (value == other_answer) value = Value(chosen.value);
  return {Fill(chosen.statement, entity, value), Fill(chosen.question, entity, value), value};
}

std::vector<Fact> FactMaker::Make(int64_t count) {
  std::vector<Fact> facts;
  while (static_cast<int64_t>(facts.size()) < count) {
    const auto relation = static_cast<size_t>(random_.Below(std::size(kRelations)));
    facts.push_back(MakeFact(relation, ""));
    if (static_cast<int64_t>(facts.size()) < count) {
      facts.push_back(MakeFact(relation, facts.back().answer));
    }
  }
  return facts;
}

Fact FactMaker::MakeUnstated() {
  Fact fact = MakeFact(static_cast<size_t>(random_.Below(std::size(kRelations))), "");
  fact.statement.clear();
  fact.answer = kNotStated;
  return fact;
}

}  // namespace longleaf::service::eval
