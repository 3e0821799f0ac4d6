// The safetensors format: a little-endian u64 with the length of the header, the header as JSON
// padded with spaces to a multiple of 8, then the tensors' bytes one after another.
#include "service/eval/tensor_file.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace longleaf::service::eval {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian");

std::string TemporaryPath(const std::string& path) { return path + ".part"; }

absl::Status FileError(const std::string& what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat(what, " ", path));
}

}  // namespace

int64_t TensorElementBytes(const std::string& dtype) {
  if (dtype == "F32" || dtype == "I32") return 4;
  if (dtype == "BF16" || dtype == "F16") return 2;
  return 0;
}

int64_t TensorSpec::elements() const {
  int64_t product = 1;
  for (const int64_t extent : shape) product *= extent;
  return product;
}

int64_t TensorSpec::bytes() const { return elements() * TensorElementBytes(dtype); }

TensorFileWriter::TensorFileWriter(std::string path, std::FILE* file, int64_t data_bytes)
    : path_(std::move(path)), file_(file), missing_bytes_(data_bytes) {}

TensorFileWriter::~TensorFileWriter() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  std::remove(TemporaryPath(path_).c_str());
}

absl::StatusOr<std::unique_ptr<TensorFileWriter>> TensorFileWriter::Create(
    const std::string& path, const std::vector<TensorSpec>& tensors) {
  nlohmann::ordered_json header;
  int64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    if (TensorElementBytes(tensor.dtype) == 0) {
      return absl::InvalidArgumentError(absl::StrCat("unknown dtype ", tensor.dtype));
    }
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');

  std::FILE* file = std::fopen(TemporaryPath(path).c_str(), "wb");
  if (file == nullptr) return FileError("cannot create", TemporaryPath(path));
  std::unique_ptr<TensorFileWriter> writer(new TensorFileWriter(path, file, offset));
  const uint64_t length = text.size();
  if (std::fwrite(&length, sizeof(length), 1, file) != 1 ||
      std::fwrite(text.data(), 1, text.size(), file) != text.size()) {
    return FileError("cannot write", path);
  }
  return writer;
}

absl::Status TensorFileWriter::Append(absl::Span<const std::byte> data) {
  if (static_cast<int64_t>(data.size()) > missing_bytes_) {
    return absl::FailedPreconditionError(absl::StrCat("more data than ", path_, "'s header says"));
  }
  if (std::fwrite(data.data(), 1, data.size(), file_) != data.size()) {
    return FileError("cannot write", path_);
  }
  missing_bytes_ -= static_cast<int64_t>(data.size());
  return absl::OkStatus();
}

absl::Status TensorFileWriter::Finish() {
  if (missing_bytes_ != 0) {
    return absl::FailedPreconditionError(absl::StrCat("less data than ", path_, "'s header says"));
  }
  std::FILE* file = std::exchange(file_, nullptr);
  if (std::fclose(file) != 0) return FileError("cannot write", path_);
  if (std::rename(TemporaryPath(path_).c_str(), path_.c_str()) != 0) {
    return FileError("cannot create", path_);
  }
  return absl::OkStatus();
}

}  // namespace longleaf::service::eval
