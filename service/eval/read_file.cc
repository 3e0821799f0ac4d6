#include "service/eval/read_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/safetensors.h"

namespace longleaf::service::eval {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a folder"));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::ErrnoToStatus(errno, path);
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad()) return absl::UnavailableError(absl::StrCat("cannot read ", path));
  return text.str();
}

absl::StatusOr<std::vector<int32_t>> ReadTokens(const std::string& path) {
  auto file = model::SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  auto tensor = (*file)->Find("tokens");
  if (!tensor.ok()) return absl::InvalidArgumentError(tensor.status().message());
  if (tensor->type != model::TensorType::kI32 || tensor->shape.size() != 1 ||
      tensor->bytes.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": `tokens` is not I32 [T]"));
  }
  std::vector<int32_t> tokens(tensor->bytes.size() / sizeof(int32_t));
  std::memcpy(tokens.data(), tensor->bytes.data(), tensor->bytes.size());
  return tokens;
}

}  // namespace longleaf::service::eval
