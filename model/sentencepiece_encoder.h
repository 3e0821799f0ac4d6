// sentencepiece's library behind an interface of plain std types. Its header defines an
// absl::string_view of its own, so the .cc includes it and no Abseil header, and nothing else
// includes it.
#ifndef LONGLEAF_MODEL_SENTENCEPIECE_ENCODER_H_
#define LONGLEAF_MODEL_SENTENCEPIECE_ENCODER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace longleaf::model {

struct EncodedPiece {
  int32_t id;
  uint32_t end;  // byte offset in the text given, exclusive
};

// Immutable and thread-safe.
class SentencePieceEncoder {
 public:
  // `serialized` is a ModelProto that has been checked (SerializeForEncoder). Null and a reason in
  // *error if the library refuses it all the same.
  static std::unique_ptr<SentencePieceEncoder> Create(const std::string& serialized,
                                                      std::string* error);
  ~SentencePieceEncoder();
  SentencePieceEncoder(const SentencePieceEncoder&) = delete;
  SentencePieceEncoder& operator=(const SentencePieceEncoder&) = delete;

  // Replaces *out by the pieces of `normalized`, which is UTF-8 of less than 2^31 bytes and is not
  // changed any further. False and a reason in *error if the library fails (out of memory).
  bool Encode(std::string_view normalized, std::vector<EncodedPiece>* out,
              std::string* error) const;

 private:
  struct Library;
  explicit SentencePieceEncoder(std::unique_ptr<Library> library);

  std::unique_ptr<Library> library_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_SENTENCEPIECE_ENCODER_H_
