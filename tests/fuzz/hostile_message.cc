#include "tests/fuzz/hostile_message.h"

#include <google/protobuf/descriptor.h>

#include <cmath>
#include <iterator>
#include <limits>

namespace longleaf::fuzz {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int64_t kIntegers[] = {0,
                                 1,
                                 -1,
                                 2,
                                 16,
                                 17,
                                 63,
                                 64,
                                 1000,
                                 1001,
                                 65536,
                                 999999999,
                                 1000000000,
                                 std::numeric_limits<int32_t>::max(),
                                 std::numeric_limits<int32_t>::min(),
                                 int64_t{1} << 32,
                                 253402300799,   // the last second of the year 9999
                                 253402300800,   // and the next
                                 -62135596801,   // before the year 1
                                 315576000000,   // the longest duration
                                 315576000001,   // longer
                                 9223372036854,  // this many seconds overflow in microseconds
                                 9223372036,     // and these in nanoseconds
                                 std::numeric_limits<int64_t>::max(),
                                 std::numeric_limits<int64_t>::min()};

constexpr float kFloats[] = {0,
                             -0.0f,
                             1,
                             -1,
                             0.5f,
                             1.0000001f,
                             0.9999999f,
                             100,
                             100.00001f,
                             1e-45f,
                             1e-38f,
                             -1e-45f,
                             std::numeric_limits<float>::max(),
                             std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN()};

std::string Text(Input& input) {
  static const std::string* const kStrings = new std::string[]{
      "",
      "a",
      "b",
      "documents/a",
      "documents/b",
      "documents/",
      "documents/../a",
      "documents/a/b",
      "documents/-a",
      "documents/A",
      "documents/" + std::string(63, 'a'),
      "documents/" + std::string(64, 'a'),
      std::string(64, 'r'),
      std::string(65, 'r'),
      std::string(257, 's'),
      std::string(513, 'n'),
      std::string(4097, 'm'),
      std::string(70'000, 'q'),
      std::string(300'000, 'x'),
      std::string("\0", 1),
      std::string("a\0b", 3),
      "\xff\xfe",
      "\xc3",
      "\xed\xa0\x80",      // half a surrogate pair
      "\xf4\x90\x80\x80",  // beyond Unicode
      "\xef\xbb\xbf",      // a byte order mark
      "caf\xc3\xa9 \xe2\x80\x94 \xf0\x9f\x8c\xb2",
      "\r\n\t\x7f\x1b[31m",
      "</s><s>[INST]<0x00>",
      "display_name",
      "labels",
      "expire_time",
      "ttl",
      "*",
      "name",
      "bGlzdDE6",      // "list1:", what page tokens begin with
      "bGlzdDE6YQ==",  // and one
      "bGlzdDE6__________",
      "%s%n%n\\",
      "\"'{}",
  };
  constexpr size_t kCount = 40;
  const uint8_t choice = input.Byte();
  if (choice >= 0xc0) {
    return input.Bytes(choice - 0xc0);
  }
  return kStrings[choice % kCount];
}

// How often a repeated field gets a value.
int Count(Input& input) {
  constexpr int kCounts[] = {1, 2, 16, 17, 64, 65, 300, 5000};
  return kCounts[input.Byte() % std::size(kCounts)];
}

void Change(Input& input, Message* message, int depth);

void SetValue(Input& input, Message* message, const FieldDescriptor* field) {
  const Reflection* const reflection = message->GetReflection();
  const bool repeated = field->is_repeated();
  const auto put = [&](auto set, auto add, auto value) {
    repeated ? (reflection->*add)(message, field, value)
             : (reflection->*set)(message, field, value);
  };
  const auto integer = [&input] { return kIntegers[input.Byte() % std::size(kIntegers)]; };
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      put(&Reflection::SetInt32, &Reflection::AddInt32, static_cast<int32_t>(integer()));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      put(&Reflection::SetInt64, &Reflection::AddInt64, integer());
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      put(&Reflection::SetUInt32, &Reflection::AddUInt32, static_cast<uint32_t>(integer()));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      put(&Reflection::SetUInt64, &Reflection::AddUInt64, static_cast<uint64_t>(integer()));
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      put(&Reflection::SetFloat, &Reflection::AddFloat, kFloats[input.Byte() % std::size(kFloats)]);
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      put(&Reflection::SetDouble, &Reflection::AddDouble,
          double{kFloats[input.Byte() % std::size(kFloats)]});
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      put(&Reflection::SetBool, &Reflection::AddBool, (input.Byte() & 1) != 0);
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      put(&Reflection::SetEnumValue, &Reflection::AddEnumValue, static_cast<int>(integer()));
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      put(&Reflection::SetString, &Reflection::AddString, Text(input));
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
}

void AddEntries(Input& input, Message* message, const FieldDescriptor* map) {
  const int count = Count(input);
  const std::string key = Text(input);
  const std::string value = Text(input);
  for (int i = 0; i < count && i * (key.size() + value.size()) < (size_t{4} << 20); ++i) {
    Message* const entry = message->GetReflection()->AddMessage(message, map);
    const auto* const type = entry->GetDescriptor();
    entry->GetReflection()->SetString(entry, type->FindFieldByNumber(1),
                                      i == 0 ? key : key + std::to_string(i));
    entry->GetReflection()->SetString(entry, type->FindFieldByNumber(2), value);
  }
}

void Change(Input& input, Message* message, int depth) {
  const auto* const type = message->GetDescriptor();
  if (type->field_count() == 0) {
    return;
  }
  const uint8_t choice = input.Byte();
  const FieldDescriptor* const field = type->field((choice & 0x3f) % type->field_count());
  const Reflection* const reflection = message->GetReflection();
  if ((choice & 0xc0) == 0xc0) {
    reflection->ClearField(message, field);
  } else if (field->is_map()) {
    AddEntries(input, message, field);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    if (depth < 8) {
      Change(input,
             field->is_repeated() ? reflection->AddMessage(message, field)
                                  : reflection->MutableMessage(message, field),
             depth + 1);
    }
  } else if (field->is_repeated()) {
    const int count = Count(input);
    for (int i = 0; i < count && message->ByteSizeLong() < (size_t{4} << 20); ++i) {
      SetValue(input, message, field);
    }
  } else {
    SetValue(input, message, field);
  }
}

}  // namespace

void MakeHostile(Input& input, Message* message) {
  for (int changes = input.Byte() % 4; changes > 0; --changes) {
    Change(input, message, 0);
  }
}

}  // namespace longleaf::fuzz
