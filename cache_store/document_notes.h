// What is noted about documents without waiting for the disk: that one was asked, how far one has
// been read. Kept in memory, put into the records by a thread of its own about once a second, so a
// stalled disk delays nobody who notes; a crash loses at most the last second of it.
#ifndef LONGLEAF_CACHE_STORE_DOCUMENT_NOTES_H_
#define LONGLEAF_CACHE_STORE_DOCUMENT_NOTES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "cache_store/mutex.h"
#include "cache_store/record.h"
#include "cache_store/store.h"

namespace longleaf::store::internal {

// Thread-safe. At most one note a document.
class DocumentNotes {
 public:
  ~DocumentNotes() { Stop(); }

  void Asked(const DocumentName& name, int64_t time_us);
  // `tokens` of the document with this serial have been read; the largest number counts.
  void Read(const DocumentName& name, int64_t serial, int64_t tokens);

  // Puts what is noted of `name` into its record. False: nothing that the record did not have.
  bool Apply(const DocumentName& name, DocumentRecord& record) const;
  // What was written, or has nowhere to go any more. A note made since then stays.
  void Done(const DocumentName& name, const DocumentRecord& written);
  void Forget(const DocumentName& name);

  // `write` brings one document's note into its record and calls Done or Forget. It is called for
  // every note about once a second, and by Stop a last time.
  void Start(std::function<void(const DocumentName&)> write);
  void Stop();

 private:
  struct Note {
    int64_t asked_us = 0;
    int64_t serial = 0;  // what read_tokens is true of
    int64_t read_tokens = 0;
  };
  static bool ApplyNote(const Note& note, DocumentRecord& record);
  void Loop();
  void WriteAll();

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<DocumentName, Note> notes_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void(const DocumentName&)> write_;
  std::thread thread_;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_DOCUMENT_NOTES_H_
