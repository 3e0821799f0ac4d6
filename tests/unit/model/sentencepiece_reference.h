// The library as it comes, on the file as it is: what our tokenizer must agree with wherever it
// does not differ on purpose. Apart from the tests because the library's header cannot stand beside
// Abseil's.
#ifndef LONGLEAF_TESTS_UNIT_MODEL_SENTENCEPIECE_REFERENCE_H_
#define LONGLEAF_TESTS_UNIT_MODEL_SENTENCEPIECE_REFERENCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace longleaf::model {

class SentencePieceReference {
 public:
  // Null if the library refuses the bytes. Without `dummy_prefix` the model's own is switched off.
  static std::unique_ptr<SentencePieceReference> Load(const std::string& bytes, bool dummy_prefix);
  ~SentencePieceReference();

  // (id, end offset in `text`) of every token.
  std::vector<std::pair<int32_t, int64_t>> Encode(const std::string& text) const;
  std::string Decode(const std::vector<int32_t>& ids) const;
  // All pieces that are neither control, unknown nor bytes, spaces plain.
  std::vector<std::string> TextPieces() const;

 private:
  struct Library;
  SentencePieceReference();
  std::unique_ptr<Library> library_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_TESTS_UNIT_MODEL_SENTENCEPIECE_REFERENCE_H_
