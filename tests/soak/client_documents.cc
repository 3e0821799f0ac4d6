// The random client's other calls on documents, and what it checks of them.

#include <algorithm>
#include <chrono>

#include "tests/soak/random_client.h"

namespace longleaf::soak {
namespace {

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

bool RandomClient::MayBeGone(const Known& known) const {
  return known.maybe_deleted || (known.expires_us != 0 && NowMicros() >= known.expires_us);
}

void RandomClient::Compare(const std::string& id, Known& known, const v1::Document& document) {
  const Text& text = library_->text(known.text);
  if (known.maybe_named.has_value() && document.display_name() == known.maybe_named->first) {
    known.display_name = known.maybe_named->first;
    known.labels = known.maybe_named->second;
  }
  known.maybe_named.reset();
  known.maybe_deleted = false;
  std::string wrong;
  if (document.name() != "documents/" + id) {
    wrong += " name";
  }
  if (document.display_name() != known.display_name) {
    wrong += " display_name";
  }
  if (std::map<std::string, std::string>(document.labels().begin(), document.labels().end()) !=
      known.labels) {
    wrong += " labels";
  }
  if (known.complete) {
    if (document.text_bytes() != static_cast<int64_t>(text.bytes.size())) {
      wrong += " text_bytes";
    }
    if (document.text_sha256() != text.sha256) {
      wrong += " text_sha256";
    }
    const v1::DocumentState state = document.state();
    if (state == v1::DOCUMENT_STATE_CREATING || state == v1::DOCUMENT_STATE_FAILED ||
        (known.active && state != v1::DOCUMENT_STATE_ACTIVE)) {
      wrong += " state " + v1::DocumentState_Name(state) + " " + document.failure();
    }
    if (known.active && !known.etag.empty() && document.etag() != known.etag) {
      wrong += " etag";
    }
    if (state == v1::DOCUMENT_STATE_ACTIVE) {
      known.active = true;
      known.etag = document.etag();
    }
  } else {
    if (document.state() != v1::DOCUMENT_STATE_CREATING ||
        document.text_bytes() < known.committed ||
        document.text_bytes() > static_cast<int64_t>(known.sent)) {
      wrong += " unfinished upload";
    }
    known.committed = std::max(known.committed, document.text_bytes());
  }
  if (!wrong.empty()) {
    tally_->Finding("document not as acknowledged",
                    id + ":" + wrong + "\n" + document.ShortDebugString().substr(0, 600));
  }
}

void RandomClient::Read(const std::string& id, bool whole) {
  Known& known = known_[id];
  const std::string& all = library_->text(known.text).bytes;
  const auto size = static_cast<int64_t>(all.size());
  const int64_t offset = whole ? 0 : random_.Below(size + 1);
  const int64_t limit = whole ? 0 : random_.Below(size + 1);
  std::string text;
  const grpc::Status status = calls_->ReadText(id, offset, limit, &text);
  switch (Judge("read text", status)) {
    case Fate::kOk: {
      const auto begin = static_cast<size_t>(offset);
      std::string expected =
          all.substr(begin, limit == 0 ? std::string::npos : static_cast<size_t>(limit));
      if (!known.complete) {
        expected.resize(std::min(expected.size(), text.size()));
      }
      if (text != expected ||
          (!known.complete && static_cast<int64_t>(text.size()) < known.committed)) {
        tally_->Finding("text differs", id + " from " + std::to_string(offset) + ": " +
                                            std::to_string(text.size()) + " bytes for " +
                                            std::to_string(expected.size()));
      }
      return;
    }
    case Fate::kRefused:
      if (status.error_code() == grpc::StatusCode::NOT_FOUND && MayBeGone(known)) {
        known_.erase(id);
      } else {
        Unexpected("read text", id, status);
      }
      return;
    default:
      return;
  }
}

void RandomClient::Watch(const std::string& id) {
  Known& known = known_[id];
  if (!known.complete) {
    return;
  }
  WatchResult result;
  const grpc::Status status = calls_->Watch(id, &result);
  switch (Judge("watch", status)) {
    case Fate::kOk:
      if (result.last.state() != v1::DOCUMENT_STATE_ACTIVE) {
        tally_->Finding(
            "document not read",
            id + " " + v1::DocumentState_Name(result.last.state()) + " " + result.last.failure());
      } else {
        known.active = true;
      }
      tally_->Count("progress went back", result.went_back ? 1 : 0);
      return;
    case Fate::kRefused:
      if (status.error_code() == grpc::StatusCode::NOT_FOUND && MayBeGone(known)) {
        known_.erase(id);
      } else {
        Unexpected("watch", id, status);
      }
      return;
    default:
      return;
  }
}

void RandomClient::Update(const std::string& id) {
  Known& known = known_[id];
  v1::UpdateDocumentRequest request;
  request.mutable_document()->set_name("documents/" + id);
  const std::string display_name = "name " + std::to_string(requests_++);
  std::map<std::string, std::string> labels = known.labels;
  request.mutable_document()->set_display_name(display_name);
  request.mutable_update_mask()->add_paths("display_name");
  if (random_.OneIn(2)) {
    labels = {{"changed", display_name}};
    (*request.mutable_document()->mutable_labels())["changed"] = display_name;
    request.mutable_update_mask()->add_paths("labels");
  }
  // One that would expire is put off, or kept for good.
  const bool kept = known.expires_us != 0 && random_.OneIn(2);
  if (kept) {
    request.mutable_update_mask()->add_paths("expire_time");
    if (random_.OneIn(2)) {
      request.mutable_document()->mutable_ttl()->set_seconds(3600);
    }
  }
  const bool wrong_etag = random_.OneIn(5);
  const bool right_etag = !wrong_etag && !known.etag.empty() && random_.OneIn(2);
  request.mutable_document()->set_etag(wrong_etag ? "1-fffffff" : right_etag ? known.etag : "");
  v1::Document document;
  const grpc::Status status = calls_->Update(request, &document);
  switch (Judge("update", status)) {
    case Fate::kOk:
      if (wrong_etag) {
        tally_->Finding("etag ignored", id);
      }
      known.display_name = display_name;
      known.labels = labels;
      known.etag.clear();
      if (kept) {
        known.expires_us =
            document.has_expire_time() ? document.expire_time().seconds() * 1'000'000 : 0;
      }
      Compare(id, known, document);
      return;
    case Fate::kRefused:
      if (status.error_code() == grpc::StatusCode::NOT_FOUND && MayBeGone(known)) {
        known_.erase(id);
      } else if (!wrong_etag || status.error_code() != grpc::StatusCode::ABORTED) {
        Unexpected("update", id, status);
      }
      return;
    case Fate::kUnknown:
      known.etag.clear();
      known.maybe_named = {display_name, labels};
      return;
    case Fate::kBusy:
      return;
  }
}

void RandomClient::Delete(const std::string& id) {
  const auto it = known_.find(id);
  const bool may_be_gone = it == known_.end() || MayBeGone(it->second) ||
                           (!it->second.complete && it->second.committed == 0);
  const grpc::Status status = calls_->Delete(id);
  switch (Judge("delete", status)) {
    case Fate::kOk:
      known_.erase(id);
      Nothing(id);
      return;
    case Fate::kRefused:
      if (status.error_code() != grpc::StatusCode::NOT_FOUND || !may_be_gone) {
        Unexpected("delete", id, status);
      }
      known_.erase(id);
      return;
    case Fate::kUnknown:
      if (const auto known = known_.find(id); known != known_.end()) {
        known->second.maybe_deleted = true;
      }
      return;
    case Fate::kBusy:
      return;
  }
}

}  // namespace longleaf::soak
