// The random client's uploads: whole, in pieces, broken off and gone on with, repeated, contested.

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/soak/random_client.h"

namespace longleaf::soak {
namespace {

constexpr std::chrono::milliseconds kPause(20);
// A broken call's last bytes may be committed behind, which moves the offset once more.
constexpr int kTries = 200;

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void RandomClient::Put(const std::string& id) {
  Known known;
  known.text = random_.Below(library_->size());
  known.header.set_document_id(id);
  if (random_.OneIn(2)) {
    known.header.set_display_name("text " + std::to_string(known.text) + " – " + id);
  }
  for (int64_t i = random_.Below(3); i > 0; --i) {
    (*known.header.mutable_labels())["label" + std::to_string(i)] = std::to_string(requests_);
  }
  if (!random_.OneIn(3)) {
    known.header.set_request_id("r" + std::to_string(number_) + "-" + std::to_string(NowMicros()));
  }
  if (random_.OneIn(12)) {
    const int64_t seconds = random_.OneIn(2) ? 1 + random_.Below(3) : 3600;
    known.header.mutable_ttl()->set_seconds(seconds);
    known.expires_us = NowMicros() + seconds * 1'000'000;
  }
  ++requests_;
  known.display_name = known.header.display_name();
  known.labels = {known.header.labels().begin(), known.header.labels().end()};
  known_[id] = known;
  FinishUpload(id);
}

bool RandomClient::AskOffset(const std::string& id, int64_t* offset, bool* complete) {
  Known& known = known_[id];
  v1::QueryUploadResponse response;
  const grpc::Status status = calls_->Query(id, &response);
  *offset = 0;
  *complete = false;
  switch (Judge("query upload", status)) {
    case Fate::kOk:
      *offset = response.committed_bytes();
      *complete = response.complete();
      if (*offset < known.committed || *offset > static_cast<int64_t>(known.sent)) {
        tally_->Finding("lost", id + ": " + std::to_string(*offset) + " bytes are committed; " +
                                    std::to_string(known.committed) + " were acknowledged, " +
                                    std::to_string(known.sent) + " sent");
      }
      known.committed = *offset;
      return true;
    case Fate::kRefused:
      if (status.error_code() != grpc::StatusCode::NOT_FOUND) {
        Unexpected("query upload", id, status);
      } else if (known.committed > 0 && !MayBeGone(known)) {
        Lost(id, "an unfinished upload's " + std::to_string(known.committed) + " bytes");
        return false;
      }
      if (MayBeGone(known)) {
        known_.erase(id);
        return false;
      }
      return true;
    default:
      return false;
  }
}

bool RandomClient::FinishUpload(const std::string& id) {
  for (int i = 0; i < kTries; ++i) {
    Known& known = known_[id];
    int64_t offset = 0;
    bool complete = false;
    if ((known.sent > 0 || i > 0) && !AskOffset(id, &offset, &complete)) {
      return false;
    }
    v1::Document document;
    if (complete) {
      const grpc::Status status = calls_->Get(id, &document);
      if (Judge("get", status) != Fate::kOk) {
        return false;
      }
      Acknowledged(id, document);
      return true;
    }
    UploadSpec spec;
    spec.header = known.header;
    spec.header.set_write_offset(offset);
    if (offset > 0 && random_.OneIn(2)) {
      spec.header.clear_request_id();  // by its name
    }
    const Text& text = library_->text(known.text);
    spec.text = text.bytes;
    spec.message_bytes = static_cast<size_t>(1 + random_.Below(random_.OneIn(4) ? 300 : 60'000));
    spec.message_bytes = std::max(spec.message_bytes, text.bytes.size() / 200);
    spec.end = random_.OneIn(4) ? UploadEnd::kTotalBytes : UploadEnd::kFinish;
    known.sent = text.bytes.size();
    const grpc::Status status = calls_->Upload(spec, &document);
    switch (Judge("upload", status)) {
      case Fate::kOk:
        Acknowledged(id, document);
        return true;
      case Fate::kUnknown:
        return false;
      case Fate::kBusy:
        if (ReasonOf(status) == "DISK_FULL") {
          Delete(id);
          return false;
        }
        break;
      case Fate::kRefused:
        if (status.error_code() == grpc::StatusCode::NOT_FOUND && MayBeGone(known)) {
          known_.erase(id);
          return false;
        }
        if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS && offset == 0 &&
            known.header.request_id().empty() && i > 0) {
          // Made, but without a byte: it can be named by nothing, and has to go first.
          Delete(id);
          return false;
        }
        if (ReasonOf(status) != "OFFSET_MISMATCH" &&
            ReasonOf(status) != "DOCUMENT_ALREADY_EXISTS") {
          Unexpected("upload", id, status);
          return false;
        }
        break;
    }
    std::this_thread::sleep_for(kPause);
  }
  tally_->Finding("upload without end", id);
  return false;
}

void RandomClient::Acknowledged(const std::string& id, const v1::Document& document) {
  Known& known = known_[id];
  known.complete = true;
  tally_->Count("documents acknowledged");
  tally_->Count("bytes acknowledged",
                static_cast<int64_t>(library_->text(known.text).bytes.size()));
  if (document.has_expire_time()) {
    known.expires_us =
        document.expire_time().seconds() * 1'000'000 + document.expire_time().nanos() / 1000;
  }
  Compare(id, known, document);
}

void RandomClient::BreakOff(const std::string& id, UploadEnd end) {
  Known known;
  known.text = random_.Below(library_->size());
  known.header.set_document_id(id);
  if (random_.OneIn(2)) {
    known.header.set_request_id("b" + std::to_string(number_) + "-" + std::to_string(NowMicros()));
  }
  UploadSpec spec;
  spec.header = known.header;
  spec.text = library_->text(known.text).bytes;
  spec.end = end;
  spec.stop_at = static_cast<size_t>(random_.Below(static_cast<int64_t>(spec.text.size())));
  known.sent = spec.stop_at;
  known_[id] = known;
  // The header has been dealt with: else it could come to make a document at any later time, which
  // nobody could tell from one back from the dead. The text is still under way.
  spec.before_breaking = [this, &id] {
    v1::QueryUploadResponse response;
    for (int i = 0; i < kTries && link_->Steady(generation_) && !calls_->Query(id, &response).ok();
         ++i) {
      std::this_thread::sleep_for(kPause);
    }
  };
  v1::Document document;
  const grpc::Status status = calls_->Upload(spec, &document);
  tally_->Count("op: upload broken off");
  if (status.error_code() == grpc::StatusCode::FAILED_PRECONDITION) {
    known_[id].committed = std::atoll(MetadataOf(status, "committed_bytes").c_str());
    if (known_[id].committed != static_cast<int64_t>(spec.stop_at)) {
      tally_->Finding("lost", id + ": of an upload closed after " + std::to_string(spec.stop_at) +
                                  " bytes, " + std::to_string(known_[id].committed) + " are kept");
    }
  } else if (status.error_code() != grpc::StatusCode::CANCELLED) {
    const Fate fate = Judge("upload", status);
    if (fate == Fate::kOk ||
        (fate == Fate::kRefused && ReasonOf(status) != "DOCUMENT_ALREADY_EXISTS")) {
      Unexpected("upload broken off", id, status);
    }
  }
  if (!link_->Steady(generation_)) {
    return;
  }
  const int64_t next = random_.Below(4);
  if (next < 2) {
    FinishUpload(id);
  } else if (next == 2) {
    // At once another document of this name: the broken call's last bytes must not end up in it.
    Delete(id);
    if (known_.count(id) == 0 && link_->Steady(generation_)) {
      Put(id);
    }
  }
}

// The same request again gives the first result, whatever has become of the document since.
void RandomClient::Repeat(const std::string& id) {
  const Known& known = known_[id];
  if (known.header.request_id().empty() || known.expires_us != 0) {
    return;
  }
  UploadSpec spec;
  spec.header = known.header;
  spec.text = library_->text(known.text).bytes;
  v1::Document document;
  const grpc::Status status = calls_->Upload(spec, &document);
  switch (Judge("upload repeated", status)) {
    case Fate::kOk:
      Compare(id, known_[id], document);
      break;
    case Fate::kRefused:
      Unexpected("upload repeated", id, status);
      break;
    default:
      break;
  }
}

void RandomClient::Overwrite(const std::string& id) {
  const Known& known = known_[id];
  UploadSpec spec;
  spec.header.set_document_id(id);
  if (!known.header.request_id().empty() && random_.OneIn(2)) {
    spec.header.set_request_id(known.header.request_id());
    spec.header.set_display_name("another " + known.header.display_name());
  }
  spec.text = library_->text(random_.Below(library_->size())).bytes;
  v1::Document document;
  const bool may_be_gone = known.expires_us != 0;
  if (may_be_gone) {
    return;
  }
  const grpc::Status status = calls_->Upload(spec, &document);
  switch (Judge("upload of other content", status)) {
    case Fate::kRefused:
      if (status.error_code() != grpc::StatusCode::ALREADY_EXISTS) {
        Unexpected("upload of other content", id, status);
      }
      break;
    case Fate::kOk:
      tally_->Finding("overwritten", id);
      break;
    default:
      break;
  }
}

}  // namespace longleaf::soak
