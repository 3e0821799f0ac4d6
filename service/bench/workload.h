// The texts that are uploaded and asked: words without meaning, the same for the same seed. How
// many tokens they are is for the server's tokenizer to say; `bytes` is what can be chosen here.
#ifndef LONGLEAF_SERVICE_BENCH_WORKLOAD_H_
#define LONGLEAF_SERVICE_BENCH_WORKLOAD_H_

#include <cstdint>
#include <string>

namespace longleaf::service::bench {

// Sentences of about `bytes` bytes in all: no more, and less by at most a word. ASCII, not empty.
std::string DocumentText(int64_t bytes, uint64_t seed);

// One question of about that length; at least one word.
std::string QuestionText(int64_t bytes, uint64_t seed);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_WORKLOAD_H_
