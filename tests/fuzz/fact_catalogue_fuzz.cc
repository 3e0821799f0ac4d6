// Any bytes as facts.txt; what is accepted gives facts within the bounds.
#include <cstdint>
#include <string_view>

#include "service/eval/fact_catalogue.h"
#include "service/eval/facts.h"

using longleaf::service::eval::Fact;
using longleaf::service::eval::FactCatalogue;
using longleaf::service::eval::FactMaker;
using longleaf::service::eval::Phrasings;
using longleaf::service::eval::Task;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto catalogue =
      FactCatalogue::Parse(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!catalogue.ok()) return 0;
  if (catalogue->relations().empty()) __builtin_trap();
  auto maker = FactMaker::Create(&*catalogue, Phrasings::kAll, size);
  if (!maker.ok()) __builtin_trap();
  const auto facts = maker->Make(Task::kMixed, 3);
  if (!facts.ok()) return 0;
  for (const Fact& fact : *facts) {
    if (fact.statements.empty() || fact.statements.size() != fact.answers.size()) __builtin_trap();
    for (const auto& answer : fact.answers) {
      if (answer.size() > FactCatalogue::kMaxExpandedBytes) __builtin_trap();
    }
  }
  return 0;
}
