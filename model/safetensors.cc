#include "model/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/json_text.h"

namespace longleaf::model {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are used as they lie in files");

constexpr int64_t kLengthBytes = 8;
constexpr size_t kMaxDimensions = 16;
constexpr size_t kMaxNameBytes = 1024;

struct TypeName {
  const char* name;
  TensorType type;
  int64_t bytes;
};
constexpr TypeName kTypes[] = {
    {"F64", TensorType::kF64, 8},    {"F32", TensorType::kF32, 4},
    {"F16", TensorType::kF16, 2},    {"BF16", TensorType::kBF16, 2},
    {"I64", TensorType::kI64, 8},    {"I32", TensorType::kI32, 4},
    {"I16", TensorType::kI16, 2},    {"I8", TensorType::kI8, 1},
    {"U8", TensorType::kU8, 1},      {"BOOL", TensorType::kBool, 1},
    {"F8_E4M3", TensorType::kF8, 1}, {"F8_E5M2", TensorType::kF8, 1},
};

const TypeName* FindType(TensorType type) {
  return std::find_if(std::begin(kTypes), std::end(kTypes),
                      [type](const TypeName& known) { return known.type == type; });
}

// A whole number that fits int64_t, or -1.
int64_t WholeNumber(const nlohmann::json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX}) return -1;
  return value.get<int64_t>();
}

// What is wrong with an entry, or an empty string.
std::string ReadEntry(const nlohmann::json& json, int64_t data_bytes, TensorEntry& out) {
  if (!json.is_object()) return "is not described by an object";
  for (const auto& [key, value] : json.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return absl::StrCat("has the unknown property ", key.substr(0, 64));
    }
  }
  const auto dtype = json.find("dtype");
  const auto shape = json.find("shape");
  const auto offsets = json.find("data_offsets");
  if (dtype == json.end() || !dtype->is_string()) return "has no dtype";
  const auto known = std::find_if(
      std::begin(kTypes), std::end(kTypes),
      [&dtype](const TypeName& type) { return type.name == dtype->get_ref<const std::string&>(); });
  if (known == std::end(kTypes)) return "has an unknown dtype";
  out.type = known->type;
  if (shape == json.end() || !shape->is_array() || shape->size() > kMaxDimensions) {
    return "has no valid shape";
  }
  int64_t bytes = known->bytes;
  for (const nlohmann::json& extent : *shape) {
    out.shape.push_back(WholeNumber(extent));
    if (out.shape.back() < 0) return "has a shape that is not of whole numbers";
    if (__builtin_mul_overflow(bytes, out.shape.back(), &bytes)) return "has an overflowing shape";
  }
  if (offsets == json.end() || !offsets->is_array() || offsets->size() != 2) {
    return "has no valid data_offsets";
  }
  out.begin = WholeNumber((*offsets)[0]);
  out.end = WholeNumber((*offsets)[1]);
  if (out.begin < 0 || out.end < out.begin || out.end > data_bytes) {
    return absl::StrCat("has data_offsets outside the file's ", data_bytes, " bytes of data");
  }
  if (out.end - out.begin != bytes) {
    return absl::StrCat("has ", out.end - out.begin, " bytes where its shape needs ", bytes);
  }
  return "";
}

// The tensors must cover the data without gaps or overlaps: a file where they do not was cut,
// glued or made to deceive.
absl::Status CheckCover(const std::map<std::string, TensorEntry>& tensors, int64_t data_bytes,
                        const std::string& name) {
  std::vector<std::pair<const std::string*, const TensorEntry*>> order;
  for (const auto& [tensor, entry] : tensors) order.emplace_back(&tensor, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  int64_t covered = 0;
  for (const auto& [tensor, entry] : order) {
    if (entry->begin != covered) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": tensor ", *tensor,
                       entry->begin < covered ? " overlaps the tensor before it"
                                              : " does not begin where the tensor before it ends"));
    }
    covered = entry->end;
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": the tensors end at byte ", covered,
                                                   " of ", data_bytes, " bytes of data"));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t BytesOf(TensorType type) { return FindType(type)->bytes; }
const char* NameOf(TensorType type) { return FindType(type)->name; }

absl::StatusOr<SafetensorsHeader> SafetensorsHeader::Parse(absl::Span<const std::byte> prefix,
                                                           int64_t file_bytes,
                                                           const std::string& name) {
  const auto wrong = [&name](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", what...));
  };
  if (file_bytes < kLengthBytes || prefix.size() < kLengthBytes) {
    return wrong("not a safetensors file: ", file_bytes, " bytes");
  }
  uint64_t length = 0;
  std::memcpy(&length, prefix.data(), sizeof(length));
  if (length > uint64_t{kMaxBytes} || static_cast<int64_t>(length) > file_bytes - kLengthBytes ||
      length > prefix.size() - kLengthBytes) {
    return wrong("not a safetensors file, or cut: a header of ", length, " bytes in a file of ",
                 file_bytes, " (the limit is ", kMaxBytes, ")");
  }
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()) + kLengthBytes, length);
  absl::StatusOr<nlohmann::json> json = ParseJsonObject(text, name);
  if (!json.ok()) return json.status();

  SafetensorsHeader header;
  header.data_begin = kLengthBytes + static_cast<int64_t>(length);
  const int64_t data_bytes = file_bytes - header.data_begin;
  for (const auto& [tensor, entry] : json->items()) {
    if (tensor == "__metadata__") {
      if (!entry.is_object()) return wrong("__metadata__ is not an object");
      continue;
    }
    if (tensor.empty() || tensor.size() > kMaxNameBytes) {
      return wrong("a tensor name of ", tensor.size(), " bytes");
    }
    const std::string problem = ReadEntry(entry, data_bytes, header.tensors[tensor]);
    if (!problem.empty()) return wrong("tensor ", tensor, " ", problem);
  }
  if (absl::Status status = CheckCover(header.tensors, data_bytes, name); !status.ok()) {
    return status;
  }
  return header;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  struct stat info = {};
  const int stat_result = ::fstat(fd, &info);
  const int stat_errno = errno;
  void* data = MAP_FAILED;
  int map_errno = 0;
  if (stat_result == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
    data = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    map_errno = errno;
  }
  ::close(fd);
  if (stat_result != 0) return absl::ErrnoToStatus(stat_errno, absl::StrCat("cannot stat ", path));
  if (!S_ISREG(info.st_mode) || info.st_size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": empty, or not a plain file"));
  }
  if (data == MAP_FAILED) {
    return absl::ErrnoToStatus(map_errno, absl::StrCat("cannot map ", path));
  }
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile(
      path, {static_cast<const std::byte*>(data), static_cast<size_t>(info.st_size)}));
  absl::StatusOr<SafetensorsHeader> header =
      SafetensorsHeader::Parse(file->bytes_, info.st_size, path);
  if (!header.ok()) return header.status();
  file->identity_ = IdentityOf(info);
  file->header_ = *std::move(header);
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

absl::StatusOr<TensorView> SafetensorsFile::Find(const std::string& tensor) const {
  const auto found = header_.tensors.find(tensor);
  if (found == header_.tensors.end()) {
    return absl::NotFoundError(absl::StrCat(path_, ": no tensor ", tensor));
  }
  const TensorEntry& entry = found->second;
  return TensorView{entry.type, entry.shape,
                    bytes_.subspan(static_cast<size_t>(header_.data_begin + entry.begin),
                                   static_cast<size_t>(entry.end - entry.begin))};
}

void SafetensorsFile::Release(absl::Span<const std::byte> bytes) const {
  // Whole pages only: the neighbours' bytes may be in use. A hint, so its failure means nothing.
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin < end) {
    static_cast<void>(::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED));
  }
}

}  // namespace longleaf::model
