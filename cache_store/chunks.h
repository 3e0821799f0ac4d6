// Text and tokens as stored chunks: their bytes, and reading them in order with every check.
#ifndef LONGLEAF_CACHE_STORE_CHUNKS_H_
#define LONGLEAF_CACHE_STORE_CHUNKS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cache_store/database.h"
#include "cache_store/record.h"
#include "cache_store/store.h"

namespace longleaf::store::internal {

// A text chunk carries the serial of its document and its own offset: a chunk in the wrong place is
// told from the right one.
std::string EncodeTextChunk(int64_t serial, int64_t offset, std::string_view text);
absl::StatusOr<std::string_view> DecodeTextChunk(std::string_view bytes, int64_t serial,
                                                 int64_t offset);

// Tokens [first, first + tokens.size()) of a document. Ends are stored as differences, the first
// one to `base_byte`, which no token of the chunk ends before. tokens: [n], n <= kMaxTokensPerChunk
std::string EncodeTokenChunk(int64_t serial, int64_t first, int64_t base_byte,
                             absl::Span<const TextToken> tokens);
absl::StatusOr<std::vector<TextToken>> DecodeTokenChunk(std::string_view bytes, int64_t serial,
                                                        int64_t first);

// Calls `visit(chunk_offset, text)` for the chunks that cover [offset, end) of the document's text,
// in order. DATA_LOSS, naming document and offset, for a chunk that is damaged or missing.
absl::Status VisitText(Database& database, const std::string& tenant, const DocumentRecord& record,
                       int64_t offset, int64_t end,
                       absl::FunctionRef<void(int64_t, std::string_view)> visit);

// The same for tokens [first, end): `visit(first_of_chunk, tokens)`.
absl::Status VisitTokens(Database& database, const std::string& tenant,
                         const DocumentRecord& record, int64_t first, int64_t end,
                         absl::FunctionRef<void(int64_t, absl::Span<const TextToken>)> visit);

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_CHUNKS_H_
