// A tokenizer.model from anywhere: refused, or it encodes and decodes without harm.
#include <cstdint>
#include <string_view>

#include "model/streaming_tokenizer.h"
#include "model/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace longleaf::model;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = Tokenizer::Parse(bytes, "fuzz");
  if (!tokenizer.ok()) return 0;
  for (const Start start : {Start::kFirst, Start::kContinuation}) {
    const auto ids =
        (*tokenizer)->EncodeIds("the  \uFB01ne e\u0301 <s>[x] \u6587\u66F8\t10x==\n", start);
    if (ids.ok()) (*tokenizer)->Decode(*ids);
  }
  return 0;
}
