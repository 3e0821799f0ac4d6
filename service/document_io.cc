#include "service/document_io.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/state_codec.h"
#include "model/streaming_tokenizer.h"
#include "service/errors.h"
#include "service/state/stored_state.h"

namespace longleaf::service {
namespace {

constexpr int64_t kTextBytes = 1 << 20;  // read at a time
constexpr int64_t kTokensAtATime = 1 << 16;

double SecondsSince(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

absl::Status AppendTokens(store::Store& store, const store::DocumentName& name,
                          const std::vector<model::Token>& tokens, int64_t tokenized_bytes,
                          store::DocumentRecord* record) {
  std::vector<store::TextToken> stored;
  stored.reserve(tokens.size());
  for (const model::Token& token : tokens) {
    stored.push_back({token.id, token.end_byte});
  }
  store::UploadPart part;
  part.write_offset = record->text_bytes;
  part.first_token = record->token_count;
  part.tokens = stored;
  part.tokenized_bytes = tokenized_bytes;
  part.serial = record->serial;
  absl::StatusOr<store::DocumentRecord> appended = store.AppendUpload(name.tenant, name.id, part);
  if (!appended.ok()) {
    return FromStore(appended.status(), name.id);
  }
  *record = *std::move(appended);
  return absl::OkStatus();
}

// Tokenises the text from where its tokens end.
absl::Status TokenizeRest(store::Store& store, const ServedModel& model,
                          const store::DocumentName& name, store::DocumentRecord* record) {
  const std::unique_ptr<model::StreamingTokenizer> tokenizer =
      model.NewTokenizer(record->tokenized_bytes);
  std::vector<model::Token> tokens;
  for (int64_t at = record->tokenized_bytes; at < record->text_bytes;) {
    absl::StatusOr<std::string> text =
        store.ReadText(name.tenant, name.id, at, std::min(kTextBytes, record->text_bytes - at));
    if (!text.ok()) {
      return FromStore(text.status(), name.id);
    }
    at += static_cast<int64_t>(text->size());
    tokens.clear();
    absl::Status status = tokenizer->Feed(*text, &tokens);
    if (status.ok() && at == record->text_bytes) {
      status = tokenizer->Finish(&tokens);
    }
    if (status.ok()) {
      status = AppendTokens(store, name, tokens,
                            at == record->text_bytes ? at : tokenizer->split_point(), record);
    }
    if (!status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

// Reads all tokens: ids behind BOS and preamble, and their ends.
absl::Status ReadAllTokens(store::Store& store, const ServedModel& model,
                           const store::DocumentName& name, const store::DocumentRecord& record,
                           LoadedDocument* out) {
  out->tokens = model.prompt().prefix_ids();
  out->tokens.reserve(out->tokens.size() + static_cast<size_t>(record.token_count));
  auto ends = std::make_shared<std::vector<int64_t>>();
  ends->reserve(static_cast<size_t>(record.token_count));
  while (static_cast<int64_t>(ends->size()) < record.token_count) {
    absl::StatusOr<std::vector<store::TextToken>> tokens =
        store.ReadTokens(name.tenant, name.id, static_cast<int64_t>(ends->size()), kTokensAtATime);
    if (!tokens.ok()) {
      return tokens.status();
    }
    if (tokens->empty()) {
      return absl::DataLossError(absl::StrCat("documents/", name.id, ": tokens are missing"));
    }
    for (const store::TextToken& token : *tokens) {
      if (token.id >= model.config().vocab) {
        return absl::DataLossError(
            absl::StrCat("documents/", name.id, ": a token of another model"));
      }
      out->tokens.push_back(token.id);
      ends->push_back(token.end_byte);
    }
  }
  out->token_ends = std::move(ends);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadedDocument> LoadDocument(store::Store& store, const ServedModel& model,
                                            const store::DocumentName& name) {
  absl::StatusOr<store::DocumentRecord> record = store.GetDocument(name.tenant, name.id);
  if (!record.ok()) {
    return FromStore(record.status(), name.id);
  }
  if (record->state == store::DocumentState::kCreating) {
    return NoSuchDocument(name.id);  // the one to be read was deleted, this is another's upload
  }
  LoadedDocument loaded;
  loaded.record = *std::move(record);
  bool tokens_are_good = loaded.record.token_fingerprint == model.token_fingerprint() &&
                         loaded.record.tokenized_bytes == loaded.record.text_bytes;
  if (tokens_are_good) {
    const absl::Status status = ReadAllTokens(store, model, name, loaded.record, &loaded);
    tokens_are_good = status.ok();
    if (!status.ok() && !absl::IsDataLoss(status)) {
      return FromStore(status, name.id);
    }
  }
  if (!tokens_are_good) {
    // Made by another tokenizer, not finished by a crash, or damaged: the text has them all.
    absl::StatusOr<store::DocumentRecord> reset =
        store.ResetTokens(name.tenant, name.id, model.token_fingerprint());
    if (!reset.ok()) {
      return FromStore(reset.status(), name.id);
    }
    loaded.record = *std::move(reset);
    if (absl::Status status = TokenizeRest(store, model, name, &loaded.record); !status.ok()) {
      return status;
    }
    if (absl::Status status = ReadAllTokens(store, model, name, loaded.record, &loaded);
        !status.ok()) {
      return FromStore(status, name.id);
    }
  }
  if (loaded.record.token_count > model.max_document_tokens()) {
    return WithDetails(absl::InvalidArgumentError(
                           absl::StrCat("the document has ", loaded.record.token_count,
                                        " tokens, this model takes ", model.max_document_tokens())),
                       {.reason = reason::kDocumentTooLong});
  }
  loaded.snapshot = FindSnapshot(store, model, name.tenant, loaded.tokens);
  if (loaded.snapshot != nullptr) {
    // So that it does not go when another document with this beginning is deleted. A failure costs
    // at most that.
    store.ClaimSnapshot(loaded.snapshot->key(), name.id).IgnoreError();
  }
  return loaded;
}

absl::Status RecordState(store::Store& store, const store::DocumentName& name, int64_t serial,
                         store::DocumentState state, const absl::Status& failure) {
  return store
      .UpdateDocument(name.tenant, name.id,
                      [&](store::DocumentRecord& record) -> absl::Status {
                        if (record.state == store::DocumentState::kCreating ||
                            (serial != 0 && record.serial != serial)) {
                          return NoSuchDocument(name.id);
                        }
                        record.state = state;
                        record.failure_code = static_cast<int32_t>(failure.code());
                        record.failure_message = std::string(failure.message());
                        return absl::OkStatus();
                      })
      .status();
}

store::SnapshotPtr FindSnapshot(store::Store& store, const ServedModel& model,
                                const std::string& tenant, const std::vector<int32_t>& tokens) {
  absl::StatusOr<store::SnapshotPtr> found =
      store.FindLongestPrefix(tenant, model.fingerprint(), tokens);
  return found.ok() ? *std::move(found) : nullptr;
}

absl::StatusOr<StateRestorePtr> PrepareRestore(store::Store& store, ServedModel& model,
                                               store::SnapshotPtr snapshot, kernels::State& state) {
  absl::StatusOr<model::SnapshotLayout> layout =
      model::SnapshotLayout::FromMeta(snapshot->meta(), model.shape());
  if (!layout.ok()) {
    return layout.status();
  }
  if (absl::Status status = CheckSegments(*snapshot, *layout); !status.ok()) {
    return status;
  }
  if (absl::Status status = model::PrepareRestore(model.backend(), *layout, state); !status.ok()) {
    return status;
  }
  return StateRestore::Create(store, model.backend(), std::move(snapshot), *layout, state);
}

absl::Status RestoreState(store::Store& store, Metrics& metrics, const store::Snapshot& snapshot,
                          const absl::StatusOr<StateRestorePtr>& restore, Executor& executor,
                          int helpers) {
  absl::Status status = restore.status();
  if (restore.ok()) {
    // Only while few wait: others' first reads come before this one's second reader.
    for (int i = 0; i < helpers; ++i) {
      executor.RunIfRoom([shared = *restore] { shared->Read(); }, helpers);
    }
    status = (*restore)->Finish();
  }
  if (absl::IsDataLoss(status)) {
    metrics.StateRejected("corrupt");
    store.DropSnapshot(snapshot.key(), store::DropReason::kCorrupt).IgnoreError();
  } else if (absl::IsInvalidArgument(status)) {
    metrics.StateRejected("unreadable");
    store.DropSnapshot(snapshot.key(), store::DropReason::kUnreadable).IgnoreError();
  }
  return status;
}

absl::StatusOr<store::SnapshotPtr> SaveState(store::Store& store, ServedModel& model,
                                             Metrics& metrics, const SaveRequest& request) {
  const auto begun = std::chrono::steady_clock::now();
  absl::StatusOr<model::SnapshotLayout> layout =
      model::SnapshotLayout::For(model.shape(), static_cast<int64_t>(request.tokens.size()));
  if (!layout.ok()) {
    return layout.status();
  }
  store::CommitSpec commit;
  commit.key = {request.document.tenant, model.fingerprint(), layout->tokens(),
                store::DigestTokens(request.tokens)};
  commit.meta = layout->Meta();
  commit.document_id = request.document.id;
  if (request.base != nullptr) {
    absl::StatusOr<model::SnapshotLayout> base =
        model::SnapshotLayout::FromMeta(request.base->meta(), model.shape());
    if (base.ok()) {
      const absl::Span<const store::SegmentPtr> shared =
          request.base->cores().subspan(0, static_cast<size_t>(layout->SharedSegments(*base)));
      commit.segments.assign(shared.begin(), shared.end());
    }
    if (request.replace_base) {
      commit.replaces = request.base->key();
    }
  }
  absl::StatusOr<store::SnapshotPtr> snapshot =
      WriteState(store, model.backend(), *request.state, *layout, std::move(commit));
  if (snapshot.ok()) {
    metrics.StateSaveSeconds(SecondsSince(begun));
  }
  return snapshot;
}

}  // namespace longleaf::service
