// The random client's checks of the whole: every document, every slot, the list; and requests that
// nobody should send.

#include <algorithm>
#include <vector>

#include "tests/soak/random_client.h"

namespace longleaf::soak {

bool RandomClient::Verify(const std::string& id) {
  v1::Document document;
  const grpc::Status status = calls_->Get(id, &document);
  const Fate fate = Judge("get", status);
  if (fate == Fate::kUnknown || fate == Fate::kBusy) {
    return false;
  }
  const auto it = known_.find(id);
  if (it == known_.end()) {
    if (fate == Fate::kOk || status.error_code() != grpc::StatusCode::NOT_FOUND) {
      tally_->Finding("back from the dead", id + " " + Describe(status));
    }
    return true;
  }
  Known& known = it->second;
  if (fate == Fate::kOk) {
    // The call that finished it may have been cut off.
    if (!known.complete && document.state() != v1::DOCUMENT_STATE_CREATING &&
        document.text_sha256() == library_->text(known.text).sha256) {
      known.complete = true;
    }
    Compare(id, known, document);
    Read(id, /*whole=*/true);
    return link_->Steady(generation_);
  }
  if (status.error_code() != grpc::StatusCode::NOT_FOUND) {
    Unexpected("get", id, status);
    return true;
  }
  if (MayBeGone(known) || (!known.complete && known.committed == 0)) {
    known_.erase(it);
  } else {
    Lost(id, Describe(status));
  }
  return true;
}

void RandomClient::VerifyAll() {
  std::vector<std::string> ids;
  for (int64_t i = 0; i < slots_; ++i) {
    ids.push_back("c" + std::to_string(number_) + "-" + std::to_string(i));
  }
  for (const std::string& id : ids) {
    if (!Verify(id)) {
      return;
    }
    if (known_.count(id) != 0 && known_[id].complete) {
      Watch(id);
    }
    if (known_.count(id) != 0 && known_[id].active) {
      Question(id, Manner::kPlain);
    }
  }
  List();
  tally_->Count("full verifications of a client");
}

void RandomClient::Nothing(const std::string& id) {
  v1::Document document;
  const grpc::Status status = calls_->Get(id, &document);
  const Fate fate = Judge("get", status);
  if (fate == Fate::kOk) {
    tally_->Finding("back from the dead", id + " " + document.ShortDebugString().substr(0, 300));
  } else if (fate == Fate::kRefused && status.error_code() != grpc::StatusCode::NOT_FOUND) {
    Unexpected("get", id, status);
  }
}

// All of its own are there, in order, and nothing else of its own.
void RandomClient::List() {
  const std::string prefix = "documents/c" + std::to_string(number_) + "-";
  const auto page_size = static_cast<int32_t>(random_.Below(9));
  std::vector<std::string> seen;
  std::string before;
  std::string token;
  do {
    v1::ListDocumentsResponse page;
    const grpc::Status status = calls_->List(page_size, token, &page);
    const Fate fate = Judge("list", status);
    if (fate == Fate::kRefused) {
      Unexpected("list", "", status);
    }
    if (fate != Fate::kOk) {
      return;
    }
    for (const v1::Document& document : page.documents()) {
      if (document.name() <= before) {
        tally_->Finding("list out of order", before + " before " + document.name());
      }
      before = document.name();
      if (document.name().rfind(prefix, 0) == 0) {
        seen.push_back(document.name().substr(10));
        const auto it = known_.find(seen.back());
        if (it == known_.end()) {
          tally_->Finding("back from the dead", seen.back() + " is listed");
        } else if (it->second.complete == (document.state() != v1::DOCUMENT_STATE_CREATING)) {
          Compare(it->first, it->second, document);
        }
      }
    }
    token = page.next_page_token();
  } while (!token.empty());
  std::vector<std::string> missing;
  for (const auto& [id, known] : known_) {
    if (std::find(seen.begin(), seen.end(), id) == seen.end() && !MayBeGone(known) &&
        (known.complete || known.committed > 0)) {
      missing.push_back(id);
    }
  }
  for (const std::string& id : missing) {
    Lost(id, "not listed");
  }
}

void RandomClient::Nonsense() {
  const std::string own = "c" + std::to_string(number_) + "-x";
  const int64_t kind = random_.Below(12);
  AskSpec ask;
  ask.request.set_document("documents/" + (known_.empty() ? own : known_.begin()->first));
  ask.request.set_question("What?");
  AskResult answer;
  UploadSpec upload;
  upload.header.set_document_id(own);
  upload.text = "some text";
  v1::Document document;
  v1::UpdateDocumentRequest update;
  v1::ListDocumentsResponse page;
  std::string text;
  grpc::Status status;
  const std::string bad_utf8 = "broken \xff\xfe text";
  switch (kind) {
    case 0:
      ask.request.set_question(random_.OneIn(2) ? "" : std::string(70 << 10, 'x'));
      status = calls_->Ask(ask, &answer);
      break;
    case 1:
      ask.request.mutable_sampling()->set_temperature(-1);
      status = calls_->Ask(ask, &answer);
      break;
    case 2:
      ask.request.mutable_sampling()->set_top_p(1.5f);
      ask.request.mutable_sampling()->set_max_tokens(0);
      status = calls_->Ask(ask, &answer);
      break;
    case 3:
      status = calls_->Get(random_.OneIn(2) ? "../x" : "", &document);
      break;
    case 4:
      upload.header.set_document_id(random_.OneIn(2) ? "UPPER" : std::string(64, 'a'));
      status = calls_->Upload(upload, &document);
      break;
    case 5:
      upload.text = bad_utf8;
      status = calls_->Upload(upload, &document);
      break;
    case 6:
      upload.text = "";
      status = calls_->Upload(upload, &document);
      break;
    case 7:
      status = calls_->List(random_.OneIn(2) ? -1 : 5000, "", &page);
      break;
    case 8:
      status = calls_->List(5, "no token of ours", &page);
      break;
    case 9:
      status = calls_->ReadText(own, -1, 3, &text);
      break;
    case 10:
      update.mutable_document()->set_name("documents/" + own);
      update.mutable_update_mask()->add_paths("text_bytes");
      status = calls_->Update(update, &document);
      break;
    default:
      upload.header.set_total_bytes(int64_t{1} << 41);
      status = calls_->Upload(upload, &document);
      break;
  }
  const Fate fate = Judge("nonsense", status);
  const bool expired = status.error_code() == grpc::StatusCode::NOT_FOUND && kind <= 2;
  const bool not_read = status.error_code() == grpc::StatusCode::FAILED_PRECONDITION && kind <= 2;
  if (fate == Fate::kOk || (fate == Fate::kRefused && !expired && !not_read &&
                            status.error_code() != grpc::StatusCode::INVALID_ARGUMENT)) {
    Unexpected("nonsense " + std::to_string(kind), own, status);
  }
  if (fate == Fate::kUnknown) {
    litter_ = own;  // perhaps an upload without its end
  } else if (fate == Fate::kRefused) {
    Nothing(own);
  }
}

}  // namespace longleaf::soak
