#include "model/packed_weights.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace longleaf::model {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are used as they lie in files");

constexpr size_t kFixedBytes = 56;  // magic, version, sizes, digest
constexpr size_t kChecksumBytes = 8;
constexpr size_t kDigestBytes = 32;
constexpr size_t kMaxText = 4096;
constexpr size_t kMaxSources = 1024;
constexpr size_t kMaxItems = 1 << 16;

class Writer {
 public:
  template <typename Number>
  void Put(Number number) {
    out_.append(reinterpret_cast<const char*>(&number), sizeof(number));
  }
  void Bytes(std::string_view bytes) { out_.append(bytes); }
  void Text(std::string_view text) {
    Put(static_cast<uint16_t>(text.size()));
    Bytes(text);
  }
  // 64 hex digits as 32 bytes; an empty string as zeros.
  void Digest(const std::string& hex) {
    out_.append(hex.empty() ? std::string(kDigestBytes, '\0') : absl::HexStringToBytes(hex));
  }
  std::string& out() { return out_; }

 private:
  std::string out_;
};

// Takes numbers off the front; once there are too few bytes, or a wrong one, it has failed and
// gives zeros.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  std::string_view Bytes(size_t count) {
    if (failed_ || rest_.size() < count) {
      failed_ = true;
      return {};
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  template <typename Number>
  Number Get() {
    Number number{};
    const std::string_view bytes = Bytes(sizeof(number));
    if (!bytes.empty()) std::memcpy(&number, bytes.data(), sizeof(number));
    return number;
  }
  std::string Text() {
    const size_t length = Get<uint16_t>();
    if (length == 0 || length > kMaxText) failed_ = true;
    return std::string(Bytes(length));
  }
  std::string Digest() {
    const std::string_view bytes = Bytes(kDigestBytes);
    return absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
  }
  // A number that int64_t holds and that is `least` or more.
  int64_t Count(int64_t least) {
    const uint64_t number = Get<uint64_t>();
    if (number > uint64_t{INT64_MAX} || static_cast<int64_t>(number) < least) failed_ = true;
    return static_cast<int64_t>(number);
  }
  bool Flag() {
    const uint8_t number = Get<uint8_t>();
    if (number > 1) failed_ = true;
    return number == 1;
  }
  void Fail() { failed_ = true; }
  bool failed() const { return failed_; }
  bool done() const { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

// The next place for an item, or -1 beyond what int64_t holds.
int64_t Aligned(int64_t at) {
  int64_t up = 0;
  if (__builtin_add_overflow(at, kPackedWeightsAlignment - 1, &up)) return -1;
  return up / kPackedWeightsAlignment * kPackedWeightsAlignment;
}

bool IsDigest(const std::string& hex) {
  return hex.size() == 2 * kDigestBytes && std::all_of(hex.begin(), hex.end(), [](unsigned char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}
bool IsText(const std::string& text) { return !text.empty() && text.size() <= kMaxText; }

bool IsVector(const kernels::MatrixShape& shape) {
  return shape.out_features == 1 && shape.epilogue == kernels::Epilogue::kNone &&
         shape.format == kernels::WeightFormat::kF32;
}

WeightSource ReadSource(Reader& in) {
  WeightSource source;
  source.name = in.Text();
  source.identity.bytes = in.Count(0);
  source.identity.modified_ns = in.Get<int64_t>();
  source.identity.changed_ns = in.Get<int64_t>();
  source.identity.inode = in.Get<uint64_t>();
  const bool checked = in.Flag();
  source.sha256 = in.Digest();
  if (!checked) {
    if (source.sha256.find_first_not_of('0') != std::string::npos) in.Fail();
    source.sha256.clear();
  }
  return source;
}

PackedItem ReadItem(Reader& in) {
  PackedItem item;
  item.name = in.Text();
  item.kind = static_cast<PackedKind>(in.Get<uint8_t>());
  item.shape.format = static_cast<kernels::WeightFormat>(in.Get<uint8_t>());
  item.shape.epilogue = static_cast<kernels::Epilogue>(in.Get<uint8_t>());
  if (in.Get<uint8_t>() != 0) in.Fail();
  item.shape.out_features = in.Count(1);
  item.shape.in_features = in.Count(1);
  item.bytes = in.Count(1);
  item.offset = in.Count(1);
  item.checksum = in.Get<uint64_t>();
  switch (item.kind) {
    case PackedKind::kMatrix:
      break;
    case PackedKind::kVector: {
      int64_t bytes = 0;
      if (__builtin_mul_overflow(item.shape.in_features, int64_t{sizeof(float)}, &bytes) ||
          bytes != item.bytes || !IsVector(item.shape)) {
        in.Fail();
      }
      break;
    }
    default:
      in.Fail();
  }
  switch (item.shape.format) {
    case kernels::WeightFormat::kF32:
    case kernels::WeightFormat::kI8:
    case kernels::WeightFormat::kI4:
    case kernels::WeightFormat::kBF16:
      break;
    default:
      in.Fail();
  }
  switch (item.shape.epilogue) {
    case kernels::Epilogue::kNone:
    case kernels::Epilogue::kSiluGate:
      break;
    default:
      in.Fail();
  }
  return item;
}

}  // namespace

absl::Status PackedWeightsHead::LayOut() {
  const auto wrong = [](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("packed weights: ", what));
  };
  if (!IsText(layout) || !IsText(config)) return wrong("no layout or config");
  if (!IsDigest(weights_digest)) return wrong("no digest");
  if (sources.empty() || sources.size() > kMaxSources) return wrong("too many files, or none");
  if (items.empty() || items.size() > kMaxItems) return wrong("too many weights, or none");
  for (const WeightSource& source : sources) {
    if (!IsText(source.name) || (!source.sha256.empty() && !IsDigest(source.sha256))) {
      return wrong("a file without a name or with half a checksum");
    }
  }
  for (const PackedItem& item : items) {
    if (!IsText(item.name) || item.bytes < 1) return wrong("a weight without name or bytes");
  }
  const int64_t head = static_cast<int64_t>(Encode().size());
  if (head > kMaxBytes) return wrong("too many and too long names");
  int64_t at = head;
  for (PackedItem& item : items) {
    item.offset = Aligned(at);
    if (item.offset < 0 || __builtin_add_overflow(item.offset, item.bytes, &at)) {
      return wrong("too large");
    }
  }
  file_bytes = at;
  return absl::OkStatus();
}

std::string PackedWeightsHead::Encode() const {
  Writer out;
  out.Bytes(kMagic);
  out.Put(kPackedWeightsVersion);
  out.Put(uint32_t{0});  // the head's size, below
  out.Put(static_cast<uint64_t>(file_bytes));
  out.Digest(weights_digest);
  out.Text(layout);
  out.Text(config);
  out.Put(static_cast<uint32_t>(sources.size()));
  for (const WeightSource& source : sources) {
    out.Text(source.name);
    out.Put(static_cast<uint64_t>(source.identity.bytes));
    out.Put(source.identity.modified_ns);
    out.Put(source.identity.changed_ns);
    out.Put(source.identity.inode);
    out.Put(static_cast<uint8_t>(!source.sha256.empty()));
    out.Digest(source.sha256);
  }
  out.Put(static_cast<uint32_t>(items.size()));
  for (const PackedItem& item : items) {
    out.Text(item.name);
    out.Put(static_cast<uint8_t>(item.kind));
    out.Put(static_cast<uint8_t>(item.shape.format));
    out.Put(static_cast<uint8_t>(item.shape.epilogue));
    out.Put(uint8_t{0});
    out.Put(static_cast<uint64_t>(item.shape.out_features));
    out.Put(static_cast<uint64_t>(item.shape.in_features));
    out.Put(static_cast<uint64_t>(item.bytes));
    out.Put(static_cast<uint64_t>(item.offset));
    out.Put(item.checksum);
  }
  const uint32_t size = static_cast<uint32_t>(out.out().size() + kChecksumBytes);
  std::memcpy(out.out().data() + kMagic.size() + sizeof(kPackedWeightsVersion), &size,
              sizeof(size));
  out.Put(uint64_t{XXH3_64bits(out.out().data(), out.out().size())});
  return std::move(out.out());
}

absl::StatusOr<PackedWeightsHead> PackedWeightsHead::Parse(absl::Span<const std::byte> prefix,
                                                           int64_t file_bytes,
                                                           const std::string& name) {
  const auto damaged = [&name](const char* what) {
    return absl::DataLossError(absl::StrCat(name, " is damaged: ", what));
  };
  const std::string_view bytes(reinterpret_cast<const char*>(prefix.data()), prefix.size());
  if (bytes.size() < kFixedBytes + kChecksumBytes || !bytes.starts_with(kMagic)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": not a file of packed weights"));
  }
  Reader fixed(bytes.substr(kMagic.size(), kFixedBytes - kMagic.size()));
  const uint32_t version = fixed.Get<uint32_t>();
  if (version != kPackedWeightsVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": version ", version, "; this program knows ", kPackedWeightsVersion));
  }
  const size_t size = fixed.Get<uint32_t>();
  if (size < kFixedBytes + kChecksumBytes || size > static_cast<size_t>(kMaxBytes) ||
      size > bytes.size()) {
    return damaged("a head of impossible size, or cut");
  }
  const std::string_view body = bytes.substr(0, size - kChecksumBytes);
  uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + body.size(), sizeof(checksum));
  if (checksum != XXH3_64bits(body.data(), body.size())) return damaged("its head's checksum");

  PackedWeightsHead head;
  head.file_bytes = fixed.Count(0);
  if (head.file_bytes != file_bytes) return damaged("cut, or longer than it was");
  head.weights_digest = fixed.Digest();
  Reader in(body.substr(kFixedBytes));
  head.layout = in.Text();
  head.config = in.Text();
  const uint32_t sources = in.Get<uint32_t>();
  if (in.failed() || sources == 0 || sources > kMaxSources) return damaged("its list of files");
  for (uint32_t i = 0; i < sources && !in.failed(); ++i) head.sources.push_back(ReadSource(in));
  const uint32_t items = in.Get<uint32_t>();
  if (in.failed() || items == 0 || items > kMaxItems) return damaged("its list of weights");
  for (uint32_t i = 0; i < items && !in.failed(); ++i) head.items.push_back(ReadItem(in));
  if (!in.done()) return damaged("its list of weights");
  int64_t at = static_cast<int64_t>(size);
  for (const PackedItem& item : head.items) {
    if (item.offset != Aligned(at) || __builtin_add_overflow(item.offset, item.bytes, &at)) {
      return damaged("a weight that does not lie where it should");
    }
  }
  if (at != file_bytes) return damaged("its weights do not fill it");
  return head;
}

}  // namespace longleaf::model
