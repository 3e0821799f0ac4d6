// Records and manifests as bytes: what goes in comes out, and nothing damaged is taken for good.
#include "cache_store/record.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "cache_store/chunks.h"
#include "cache_store/coding.h"
#include "cache_store/limits.h"
#include "cache_store/snapshot.h"

namespace longleaf::store {
namespace {

DocumentRecord FullDocument() {
  DocumentRecord record;
  record.tenant = "tenant";
  record.id = "report-2024";
  record.display_name = "Annual report \xc3\xa9";
  record.labels = {{"", "empty name"}, {"kind", "report"}, {"year", ""}};
  record.create_time_us = 1;
  record.update_time_us = 2;
  record.expire_time_us = std::numeric_limits<int64_t>::max();
  record.last_asked_time_us = 4;
  record.serial = 5;
  record.revision = 6;
  record.request_id = std::string(255, 'r');
  record.state = DocumentState::kFailed;
  record.failure_code = -7;
  record.failure_message = std::string("nul \0 inside", 12);
  record.text_bytes = int64_t{1} << 40;
  record.text_sha256.fill(0xab);
  record.token_fingerprint.fill(0xcd);
  record.token_count = 8;
  record.tokenized_bytes = 9;
  record.token_stored_bytes = 10;
  record.read_tokens = 11;
  return record;
}

Manifest FullManifest() {
  Manifest manifest;
  manifest.key.tenant = "tenant";
  manifest.key.fingerprint.fill(1);
  manifest.key.token_count = 100;
  manifest.key.digest.fill(2);
  manifest.meta = "cca:g=16,w=64";
  manifest.segments = {
      {10, SegmentKind::kCore, 0, 64, 9000, 9500, 4096, {1, 2, 3}},
      {11, SegmentKind::kCore, 64, 96, 4096, 4500, 4096, {4}},
      {12, SegmentKind::kTail, 20, 100, 1, 300, 4096, {5}},
  };
  return manifest;
}

// Every single-byte change, every cut and every addition must be refused.
void ExpectNoDamageAccepted(const std::string& good,
                            const std::function<absl::Status(std::string_view)>& decode) {
  ASSERT_TRUE(decode(good).ok());
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      EXPECT_FALSE(decode(bad).ok()) << "byte " << i << " xor " << flip;
    }
    EXPECT_FALSE(decode(good.substr(0, i)).ok()) << "cut to " << i;
  }
  EXPECT_FALSE(decode(good + '\0').ok());
}

// Damage under a checksum that is right again: what a bug or an attacker leaves. Not all of it can
// be seen, but whatever is accepted must be canonical.
void ExpectCanonical(const std::string& good,
                     const std::function<absl::StatusOr<std::string>(std::string_view)>& recode) {
  for (size_t i = 2; i + 8 < good.size(); ++i) {
    for (const int flip : {0x01, 0x7f, 0x80, 0xff}) {
      std::string bad = good.substr(0, good.size() - 8);
      bad[i] = static_cast<char>(bad[i] ^ flip);
      const uint64_t xxh3 = internal::Xxh3(bad);
      for (int shift = 0; shift < 64; shift += 8) bad.push_back(static_cast<char>(xxh3 >> shift));
      const absl::StatusOr<std::string> again = recode(bad);
      if (again.ok()) EXPECT_EQ(*again, bad) << "byte " << i << " xor " << flip;
    }
  }
}

TEST(RecordTest, DocumentRoundTrip) {
  for (const DocumentRecord& record : {FullDocument(), [] {
                                         DocumentRecord small;
                                         small.id = "x";
                                         return small;
                                       }()}) {
    const absl::StatusOr<std::string> bytes = EncodeDocument(record);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const absl::StatusOr<DocumentRecord> decoded = DecodeDocument(*bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, record);
  }
}

// The bytes of version 1, as the first release wrote them: without the last number.
TEST(RecordTest, ADocumentOfVersionOneIsRead) {
  std::string bytes = *EncodeDocument(FullDocument());
  bytes.resize(bytes.size() - 8 - 8 - (4 + FullDocument().tenant.size()));
  bytes[1] = 1;
  const uint64_t xxh3 = internal::Xxh3(bytes);
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(xxh3 >> shift));
  const absl::StatusOr<DocumentRecord> record = DecodeDocument(bytes);
  ASSERT_TRUE(record.ok()) << record.status();
  DocumentRecord expected = FullDocument();
  expected.read_tokens = 0;
  expected.tenant.clear();
  EXPECT_EQ(*record, expected);
}

TEST(RecordTest, DocumentDamage) {
  const std::string good = *EncodeDocument(FullDocument());
  ExpectNoDamageAccepted(good,
                         [](std::string_view bytes) { return DecodeDocument(bytes).status(); });
  ExpectCanonical(good, [](std::string_view bytes) -> absl::StatusOr<std::string> {
    const absl::StatusOr<DocumentRecord> record = DecodeDocument(bytes);
    if (!record.ok()) return record.status();
    return EncodeDocument(*record);
  });
}

TEST(RecordTest, RequestRoundTripAndDamage) {
  RequestRecord record{"doc", 42, {}};
  record.fingerprint.fill(9);
  const std::string good = *EncodeRequest(record);
  EXPECT_EQ(*DecodeRequest(good), record);
  ExpectNoDamageAccepted(good,
                         [](std::string_view bytes) { return DecodeRequest(bytes).status(); });
}

TEST(RecordTest, ManifestRoundTripAndDamage) {
  const Manifest manifest = FullManifest();
  const absl::StatusOr<std::string> good = EncodeManifest(manifest);
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(*DecodeManifest(*good), manifest);
  ExpectNoDamageAccepted(*good,
                         [](std::string_view bytes) { return DecodeManifest(bytes).status(); });
  ExpectCanonical(*good, [](std::string_view bytes) -> absl::StatusOr<std::string> {
    const absl::StatusOr<Manifest> decoded = DecodeManifest(bytes);
    if (!decoded.ok()) return decoded.status();
    return EncodeManifest(*decoded);
  });
}

TEST(RecordTest, AnUnknownVersionIsToldFromDamage) {
  std::string bytes = *EncodeDocument(FullDocument());
  bytes.resize(bytes.size() - 8);
  bytes[1] = 3;
  const uint64_t xxh3 = internal::Xxh3(bytes);
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(xxh3 >> shift));
  const absl::Status status = DecodeDocument(bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.ToString().find("version 3, this program reads 1 to 2"), std::string::npos)
      << status;
}

TEST(RecordTest, AnotherKindIsRefused) {
  EXPECT_EQ(DecodeManifest(*EncodeDocument(FullDocument())).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(RecordTest, LimitsHoldWhenEncoding) {
  const auto refused = [](const std::function<void(DocumentRecord&)>& change) {
    DocumentRecord record = FullDocument();
    change(record);
    return EncodeDocument(record).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](DocumentRecord& r) { r.id.clear(); }));
  EXPECT_TRUE(refused([](DocumentRecord& r) { r.id.assign(kMaxIdBytes + 1, 'x'); }));
  EXPECT_TRUE(
      refused([](DocumentRecord& r) { r.display_name.assign(kMaxDisplayNameBytes + 1, 'x'); }));
  EXPECT_TRUE(refused([](DocumentRecord& r) { r.request_id.assign(kMaxIdBytes + 1, 'x'); }));
  EXPECT_TRUE(
      refused([](DocumentRecord& r) { r.failure_message.assign(kMaxFailureBytes + 1, 'x'); }));
  EXPECT_TRUE(refused([](DocumentRecord& r) { r.labels["a"].assign(kMaxLabelBytes, 'x'); }));
  EXPECT_TRUE(refused([](DocumentRecord& r) { r.text_bytes = -1; }));
  EXPECT_TRUE(refused([](DocumentRecord& r) { r.expire_time_us = -1; }));
  EXPECT_TRUE(refused([](DocumentRecord& r) { r.state = static_cast<DocumentState>(6); }));
  EXPECT_FALSE(refused([](DocumentRecord&) {}));
}

TEST(RecordTest, ManifestsThatDoNotHoldTogetherAreRefused) {
  const auto refused = [](const std::function<void(Manifest&)>& change) {
    Manifest manifest = FullManifest();
    change(manifest);
    return EncodeManifest(manifest).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](Manifest& m) { m.segments.clear(); }));
  EXPECT_TRUE(refused([](Manifest& m) { m.segments.pop_back(); }));                    // no tail
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[0].kind = SegmentKind::kTail; }));  // two tails
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[1].first_token = 63; }));           // overlap
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[0].first_token = 1; }));            // gap
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[1].last_token = 101; }));  // beyond the end
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[2].last_token = 99; }));   // ends too early
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[0].value_xxh3.pop_back(); }));
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[0].bytes = 3 * 4096 + 1; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[0].value_bytes = 0; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.segments[0].id = 0; }));
  EXPECT_TRUE(refused([](Manifest& m) { m.key.tenant.clear(); }));
  EXPECT_TRUE(refused([](Manifest& m) { m.meta.assign(kMaxMetaBytes + 1, 'x'); }));
  EXPECT_FALSE(refused([](Manifest&) {}));
}

TEST(RecordTest, AFalseCountDoesNotAllocate) {
  // A manifest that claims four billion checksums in a few bytes.
  internal::Encoder out(internal::RecordKind::kManifest, 1);
  out.String("t");
  out.Sha({});
  out.I64(1);
  out.Sha({});
  out.String("");
  out.U32(1);
  out.I64(1);
  out.U8(2);
  out.I64(0);
  out.I64(1);
  out.I64(int64_t{1} << 60);
  out.I64(1);
  out.I32(4096);
  out.U32(0xffffffff);
  EXPECT_EQ(DecodeManifest(out.Seal()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(RecordTest, TextChunkKnowsItsPlace) {
  const std::string chunk = internal::EncodeTextChunk(7, 1000, "some text");
  EXPECT_EQ(*internal::DecodeTextChunk(chunk, 7, 1000), "some text");
  EXPECT_EQ(internal::DecodeTextChunk(chunk, 8, 1000).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(internal::DecodeTextChunk(chunk, 7, 1001).status().code(), absl::StatusCode::kDataLoss);
  ExpectNoDamageAccepted(chunk, [](std::string_view bytes) {
    return internal::DecodeTextChunk(bytes, 7, 1000).status();
  });
}

TEST(RecordTest, TokenChunkRoundTripAndDamage) {
  const int32_t most = std::numeric_limits<int32_t>::max();
  const std::vector<TextToken> tokens = {{0, 500}, {127, 501}, {128, 501}, {most, 1 << 20}};
  const std::string chunk = internal::EncodeTokenChunk(7, 10, 500, tokens);
  EXPECT_EQ(*internal::DecodeTokenChunk(chunk, 7, 10), tokens);
  EXPECT_EQ(internal::DecodeTokenChunk(chunk, 7, 11).status().code(), absl::StatusCode::kDataLoss);
  ExpectNoDamageAccepted(chunk, [](std::string_view bytes) {
    return internal::DecodeTokenChunk(bytes, 7, 10).status();
  });
  ExpectCanonical(chunk, [](std::string_view bytes) -> absl::StatusOr<std::string> {
    const absl::StatusOr<std::vector<TextToken>> decoded = internal::DecodeTokenChunk(bytes, 7, 10);
    if (!decoded.ok()) return decoded.status();
    internal::Decoder base(bytes.substr(18));
    return internal::EncodeTokenChunk(7, 10, base.I64(), *decoded);
  });
}

TEST(RecordTest, DigestIsSha256OfLittleEndianIds) {
  // Python: hashlib.sha256(struct.pack("<3i", 1, 256, -1)).hexdigest()
  const Digest digest = DigestTokens(std::vector<int32_t>{1, 256, -1});
  std::string hex;
  for (const uint8_t byte : digest) {
    hex.push_back("0123456789abcdef"[byte >> 4]);
    hex.push_back("0123456789abcdef"[byte & 15]);
  }
  EXPECT_EQ(hex, "a7cb25d042415dced618f3f824a3595c864e51fa376deb8d0ee3964daab2a5ee");
}

}  // namespace
}  // namespace longleaf::store
