// Requests as no honest client sends them: valid ones with fields changed to what breaks programs.
#ifndef LONGLEAF_TESTS_FUZZ_HOSTILE_MESSAGE_H_
#define LONGLEAF_TESTS_FUZZ_HOSTILE_MESSAGE_H_

#include <google/protobuf/message.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace longleaf::fuzz {

// The bytes that steer one run, read from the front. After the end it gives zeros, so that a short
// input is a simple one.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool empty() const { return at_ == size_; }
  uint8_t Byte() { return at_ < size_ ? data_[at_++] : 0; }
  std::string Bytes(size_t count) {
    const size_t taken = std::min(count, size_ - at_);
    std::string out(reinterpret_cast<const char*>(data_ + at_), taken);
    at_ += taken;
    return out;
  }

 private:
  const uint8_t* const data_;
  const size_t size_;
  size_t at_ = 0;
};

// Changes up to 3 fields, as `input` says, anywhere in the message: strings that are long, not
// UTF-8 or some other field's; numbers at the ends of their range, NaN, infinities; enum values
// that do not exist; many repeated values and map entries; fields taken away.
void MakeHostile(Input& input, google::protobuf::Message* message);

}  // namespace longleaf::fuzz

#endif  // LONGLEAF_TESTS_FUZZ_HOSTILE_MESSAGE_H_
