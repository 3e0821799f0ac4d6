// Any ids, with stop strings from the input: deltas are UTF-8, together they are the whole text,
// and nothing of a stop string is shown.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "model/incremental_decoder.h"
#include "model/stop_matcher.h"
#include "model/utf8.h"

namespace {

using namespace longleaf::model;

void Require(bool condition) {
  if (!condition) std::abort();
}

const Tokenizer& Demo() {
  static const Tokenizer& demo = [&]() -> const Tokenizer& {
    auto tokenizer = Tokenizer::Load(LONGLEAF_SOURCE_DIR "/model/demo");
    Require(tokenizer.ok());
    return *tokenizer->release();
  }();
  return demo;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The first byte: how many of the next are the stop string.
  if (size == 0) return 0;
  const size_t stop_size = std::min<size_t>(data[0] % 8, size - 1);
  const std::string stop(reinterpret_cast<const char*>(data) + 1, stop_size);
  auto matcher = StopMatcher::Create({stop});
  Require(matcher.ok() == (!stop.empty() && IsValidUtf8(stop)));
  std::vector<int32_t> ids;
  for (size_t i = 1 + stop_size; i + 1 < size; i += 2) {
    ids.push_back((data[i] | data[i + 1] << 8) % (Demo().vocab_size() + 28));  // some have no piece
  }
  IncrementalDecoder decoder(&Demo());
  std::string all;
  std::string shown;
  const auto take = [&](const std::string& delta) {
    Require(IsValidUtf8(delta));
    all += delta;
    if (!matcher.ok()) return;
    const std::string out = matcher->Push(delta);
    Require(IsValidUtf8(out));
    shown += out;
  };
  for (const int32_t id : ids) take(decoder.Push(id));
  take(decoder.Flush());
  Require(all == Demo().Decode(ids));
  if (!matcher.ok()) return 0;
  shown += matcher->Flush();
  Require(shown == all.substr(0, all.find(stop)));
  Require(matcher->stopped() == (all.find(stop) != all.npos));
  return 0;
}
