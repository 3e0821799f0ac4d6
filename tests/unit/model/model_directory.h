// Makes small model directories, right and wrong ones, in the test's own temporary folder.
#ifndef LONGLEAF_TESTS_UNIT_MODEL_MODEL_DIRECTORY_H_
#define LONGLEAF_TESTS_UNIT_MODEL_MODEL_DIRECTORY_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace longleaf::model {

// A folder that goes away with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string Write(const std::string& name, std::string_view content) const;

 private:
  std::string path_;
};

struct RawTensor {
  std::string name;
  std::string dtype;  // "F32"
  std::vector<int64_t> shape;
  std::string bytes;
};

// f32 values as bytes.
std::string FloatBytes(const std::vector<float>& values);
// Header length, header, data: a safetensors file as written by others.
std::string SafetensorsBytes(const std::vector<RawTensor>& tensors);
// The same from a header given as text.
std::string WithHeader(std::string_view header, std::string_view data);

// The text of a valid config.json: 1 layer, hidden 8, intermediate 12, 2 heads of 4, vocab 16.
std::string TinyConfig();
// TinyConfig with `key` set to the JSON `value`; an empty value removes the key.
std::string TinyConfigWith(const std::string& key, const std::string& value);
// The tensors that TinyConfig asks for.
std::vector<RawTensor> TinyTensors();

}  // namespace longleaf::model

#endif  // LONGLEAF_TESTS_UNIT_MODEL_MODEL_DIRECTORY_H_
