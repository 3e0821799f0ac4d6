// Class Backend: everything the model asks of a device. A backend owns the packed weights, the
// activations and the attention state, and offers about ten fused operations over RAGGED batches: a
// list of (state, rows), where a prefill chunk brings many rows and a running answer one.
//
// Three implementations: reference.h (slow, obvious, the meaning of each operation), cpu/ and
// cuda/. Nothing here knows what a document, a question or a file is.
//
// Threads: one thread at a time may use a Backend and its objects; operations may use threads of
// their own inside. The exceptions let the disk work beside the steps:
// - Export may run on any threads while the owner runs steps, as long as nobody destroys that same
//   State or puts it into a batch meanwhile (a branch of it is another State; the pages they share
//   are only read).
// - Import, after PrepareImport, may run on any threads at once, for ranges that do not overlap,
//   while the owner branches that same State and runs steps with it and its branches: the layers
//   that are ready (State::LayerReady) are used, the others are refused. It must not be destroyed
//   before the last Import into it has returned.
// - State::LayerReady may be asked by any thread while the State lives.
// Objects made by a backend must be destroyed before it.
//
// Errors: every call that can fail for want of memory or because of a device says so by Status.
// Shapes that do not fit together are a caller's bug and give INVALID_ARGUMENT, never a crash.
#ifndef LONGLEAF_KERNELS_BACKEND_H_
#define LONGLEAF_KERNELS_BACKEND_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/attention_policy.h"

namespace longleaf::kernels {

// Element types of weights and stored states. The numbers are stored in snapshots: never renumber.
enum class DType : uint8_t {
  kF32 = 1,
  kBF16 = 2,
  kF16 = 3,
  kI8 = 4,  // of states, with a scale for each row (state_rounding.h)
};
int64_t SizeOf(DType type);      // bytes of one element
const char* NameOf(DType type);  // "f32", "bf16", "f16", "int8"

// Row-major matrix of f32 activations in backend memory, not owned. `data` is a device pointer on
// CUDA; only Backend operations may follow it.
struct Tensor {
  float* data = nullptr;  // [rows, cols]
  int64_t rows = 0;
  int64_t cols = 0;

  // The first `n` rows. Requires n <= rows.
  Tensor Rows(int64_t n) const { return {data, n, cols}; }
};

// Owned backend memory for activations.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual Tensor tensor() const = 0;
};

// Weights as they lie in a file: row-major, possibly unaligned, host memory.
struct WeightView {
  const void* data = nullptr;  // [rows, cols] elements of `type`
  DType type = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
};

// How a weight matrix is held and multiplied. The rules are in quantised.h; the numbers are stored
// in files of packed weights: never renumber.
enum class WeightFormat : uint8_t {
  kF32 = 1,
  kI8 = 2,  // 8 bits and a scale for each 64 inputs of an output: 8.5 bits a weight
  kI4 = 3,  // 4 bits and a scale for each 32: 4.5 bits a weight
  kBF16 = 4,
  kFP8 = 5,  // e4m3 and a scale for each output; where a GPU multiplies it
};
const char* NameOf(WeightFormat format);  // "f32", "int8", "int4", "bf16", "fp8"
// The inverse of NameOf. INVALID_ARGUMENT.
absl::StatusOr<WeightFormat> ParseWeightFormat(absl::string_view name);

// What a Linear does to its result before storing it.
enum class Epilogue : uint8_t {
  kNone = 1,      // out = in W^T
  kSiluGate = 2,  // W = [gate; up]: out = silu(in gate^T) * (in up^T), half as wide as W
};

// What a packed matrix is, apart from its numbers.
struct MatrixShape {
  int64_t out_features = 0;  // of both halves under kSiluGate
  int64_t in_features = 0;
  Epilogue epilogue = Epilogue::kNone;
  WeightFormat format = WeightFormat::kF32;

  friend bool operator==(const MatrixShape&, const MatrixShape&) = default;
};

// An immutable weight matrix in the backend's own layout.
class Matrix {
 public:
  virtual ~Matrix() = default;
  virtual const MatrixShape& shape() const = 0;
  virtual int64_t bytes() const = 0;
  // The packed numbers, to be kept and given to AdoptMatrix later. Empty where packed_layout() is.
  virtual absl::Span<const std::byte> packed() const = 0;

  int64_t out_features() const { return shape().out_features; }
  int64_t in_features() const { return shape().in_features; }
};

// x / sqrt(mean(x^2) + epsilon) * weight, before a product; x itself when `weight` is empty.
struct RmsNorm {
  Tensor weight;  // [1, dim] or empty
  float epsilon = 0;
};

// The shape of an attention state, fixed for a model.
struct StateShape {
  int64_t layers = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  AttentionPolicy policy;
  DType dtype = DType::kF32;  // of the keys and values that are kept: kF32, kBF16, kI8

  int64_t core_heads() const { return policy.CoreHeadCount(query_heads, kv_heads); }
  // Bytes of the key, or of the value, of one token and head, its scale included.
  int64_t row_bytes() const {
    return head_dim * SizeOf(dtype) + (dtype == DType::kI8 ? int64_t{sizeof(float)} : 0);
  }

  friend bool operator==(const StateShape&, const StateShape&) = default;
};

// Keys and values that let a model go on after a prefix: per layer the core tokens, and the raw
// tokens that this or later queries can still see. Lives in pages; pages that two states share are
// copied before either writes to them, so branching costs a table of pointers.
//
// Counts cover committed steps only.
class State {
 public:
  virtual ~State() = default;
  virtual const StateShape& shape() const = 0;
  virtual int64_t tokens() const = 0;     // tokens seen
  virtual int64_t cores() const = 0;      // core tokens held = policy.CoresAfter(tokens)
  virtual int64_t first_raw() const = 0;  // 0-based: raw tokens first_raw .. tokens-1 are readable
  virtual int64_t bytes() const = 0;      // memory of its pages, shared ones counted in full

  // Whether everything of this layer is there: false only while an import into this state, or into
  // the one it was branched from, has not brought all of the layer, and for ever when that import
  // was given up. Requires 0 <= layer < shape().layers. Any thread; what was imported before the
  // answer true is visible to who asked.
  virtual bool LayerReady(int64_t layer) const = 0;
};

// One member of a ragged batch. Its activations are `rows` consecutive rows; members follow one
// another in order.
struct BatchItem {
  State* state = nullptr;
  int64_t rows = 0;     // >= 1 tokens that this step adds to the state
  int64_t outputs = 0;  // 0..rows: how many of the LAST rows are wanted after the last layer
  // Adds, over all heads, the softmax weight that the item's LAST row gives to each position it
  // sees: [cores visible | raw tokens visible], host memory, or nullptr when not wanted.
  float* attention_mass = nullptr;
};
using Batch = absl::Span<const BatchItem>;

// Rotary embedding, half-split convention (pairs (k, k + head_dim/2)); scaling is already in the
// frequencies. Angles are computed in double: in float32 position * frequency is off by 1e-2 rad at
// position 100,000.
struct Rotary {
  std::vector<double> inverse_frequencies;  // [head_dim / 2]
  int64_t first_position = 0;               // rotary position of a state's token 0
};

// Which rows an attention call answers.
enum class Rows {
  kAll,      // out has one row per row of the batch
  kOutputs,  // out has one row per wanted output, in order: the last layer
};

enum class StatePart : uint8_t { kCore, kRaw };

// How to choose the next token from one row of logits.
struct SampleRequest {
  float temperature = 0;         // 0: the largest logit, ties to the lowest id
  int64_t top_k = 0;             // 0: no limit
  float top_p = 1;               // (0, 1]
  float min_p = 0;               // [0, 1): drop tokens below min_p * the largest probability
  float repetition_penalty = 1;  // > 0; divides positive logits of `penalised`, multiplies negative
  absl::Span<const int32_t> penalised;  // token ids, duplicates allowed
  double uniform = 0;                   // the random number in [0, 1) that decides
  int64_t top_logprobs = 0;             // alternatives to report, 0..20
};
struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;  // natural log, of the distribution before temperature and cuts
};
struct SampleResult {
  int32_t token = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;  // best first
};

struct BackendMemory {
  int64_t weight_bytes = 0;
  int64_t activation_bytes = 0;
  int64_t state_bytes = 0;           // pages in use, each counted once however many share it
  int64_t state_capacity_bytes = 0;  // the hard limit given at construction
  int64_t state_pool_bytes = 0;      // taken from the machine: those in use, and free ones kept
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // for people: "cpu (AVX3, 2 threads)"
  virtual BackendMemory memory() const = 0;
  // OK while the device works. Else what broke it: no step can succeed any more, only a new process
  // helps. To be asked after a failure: it may wait for the device.
  virtual absl::Status Usable() { return absl::OkStatus(); }

  // ---- weights and activations
  // Packs the vertical concatenation of `parts` (equal cols); kSiluGate wants two of equal rows.
  // The source may go away afterwards. RESOURCE_EXHAUSTED; UNIMPLEMENTED for a type it cannot take.
  virtual absl::StatusOr<std::unique_ptr<Matrix>> PackMatrix(absl::Span<const WeightView> parts,
                                                             Epilogue epilogue,
                                                             WeightFormat format) = 0;
  // Names the layout of Matrix::packed(): equal names, equal bytes for equal weights, whatever the
  // machine. Empty: this backend's packed matrices cannot be kept.
  virtual std::string packed_layout() const = 0;
  // Bytes of packed() for a matrix of this shape; INVALID_ARGUMENT when there is no such matrix.
  virtual absl::StatusOr<int64_t> PackedBytes(const MatrixShape& shape) const = 0;
  // The matrix that `packed` was taken from, without a copy: the bytes, aligned to 64, must stay as
  // they are for as long as the matrix lives, which holds `owner` until then. INVALID_ARGUMENT when
  // size or alignment are not right; the numbers themselves are believed.
  virtual absl::StatusOr<std::unique_ptr<Matrix>> AdoptMatrix(
      const MatrixShape& shape, absl::Span<const std::byte> packed,
      std::shared_ptr<const void> owner) = 0;
  // Copies a vector of weights (a norm) to backend memory as f32 [1, cols].
  virtual absl::StatusOr<std::unique_ptr<Buffer>> CopyVector(const WeightView& vector) = 0;
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t rows, int64_t cols) = 0;
  // Copies to host memory: out[rows * cols].
  virtual absl::Status ToHost(const Tensor& from, float* out) = 0;

  // ---- states
  // An empty state. Costs no pages yet.
  virtual absl::StatusOr<std::unique_ptr<State>> NewState(const StateShape& shape) = 0;
  // A state equal to `parent` that shares its pages. `parent` may go on, or be destroyed. When an
  // import into `parent` is under way the branch gets its layers as they arrive; a parent that is
  // destroyed before leaves it without the rest.
  virtual absl::StatusOr<std::unique_ptr<State>> Branch(const State& parent) = 0;
  // Bytes of new pages that adding `rows` tokens to `state` takes (copies of shared ones included).
  virtual int64_t BytesToGrow(const State& state, int64_t rows) const = 0;

  // A step: BeginStep, then for each layer the operations below, then CommitStep; or AbortStep at
  // any point, after which every state is as before BeginStep. All layers or none.
  // Takes all pages the step needs. RESOURCE_EXHAUSTED leaves all states untouched. States whose
  // import is under way are welcome; RotaryAppendPool, Attention and Export of a layer that is not
  // ready are FAILED_PRECONDITION.
  virtual absl::Status BeginStep(Batch batch) = 0;
  // Adds rows to tokens(), and lets go of raw pages that no later query can see.
  virtual void CommitStep(Batch batch) = 0;
  virtual void AbortStep(Batch batch) = 0;

  // ---- operations. R = sum of rows, O = sum of outputs over the batch.
  // out[r] = row tokens[r] of `table` [vocab, dim]; ids outside are INVALID_ARGUMENT. The table is
  // in host memory, mapped from the file: an embedding reads few rows of it.
  virtual absl::Status Embed(const WeightView& table, absl::Span<const int32_t> tokens,
                             Tensor out) = 0;  // out [R, dim]
  // out = epilogue(norm(in) W^T), f32 accumulation.
  virtual absl::Status Linear(const Matrix& weight, const Tensor& in,  // [R, in_features]
                              const RmsNorm& norm, Tensor out) = 0;    // [R, out or out/2]
  // x += in W^T: a product that ends in the residual. Epilogue kNone.
  virtual absl::Status AddLinear(const Matrix& weight, const Tensor& in,  // [R, in_features]
                                 Tensor x) = 0;                           // [R, out_features]
  // x += (silu(n gate^T) * (n up^T)) down^T with n = norm(x). gate_up: kSiluGate [2 * inner, dim],
  // down: kNone [dim, inner], both of one format.
  virtual absl::Status FeedForward(Tensor x,  // [R, dim], updated
                                   const RmsNorm& norm, const Matrix& gate_up,
                                   const Matrix& down) = 0;
  // For each row of each item, at token index t = state.tokens() + its row: rotates its query in
  // place and its key, appends key and value to the state's raw tokens of `layer`, and pools every
  // group that is now complete: core token = sum over its group of (k, v) weighted by
  // softmax(q_last . k / sqrt(d)), k rotated, q_last the rotated query of the group's last token.
  virtual absl::Status RotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary,
                                        Tensor qkv) = 0;  // [R, (H + 2 Hkv) * d], q then k then v
  // Softmax attention of each row over the cores, then the raw tokens, that the policy shows it,
  // scaled by 1/sqrt(d). After RotaryAppendPool of the same layer.
  virtual absl::Status Attention(int64_t layer, Batch batch, Rows rows,
                                 const Tensor& qkv,  // [R, (H + 2 Hkv) * d], rotated
                                 Tensor out) = 0;    // [R or O, H * d]
  // out[i] = in[indices[i]].
  virtual absl::Status GatherRows(const Tensor& in, absl::Span<const int64_t> indices,
                                  Tensor out) = 0;
  // One request per row of logits [n, vocab].
  virtual absl::StatusOr<std::vector<SampleResult>> Sample(
      const Tensor& logits, absl::Span<const SampleRequest> requests) = 0;

  // ---- canonical bytes, the same for every backend: little-endian, in the state's own type
  //   keys [count, heads, d], under kI8 their scales [count, heads] f32;
  //   then values [count, heads, d] and their scales likewise
  // of core or raw tokens first .. first+count-1 of one layer (0-based; a core is the index of its
  // core token). heads = core_heads() or kv_heads. Bytes = 2 * count * heads * row_bytes(). What
  // comes in is taken as it is: finite, elements of kI8 in -127..127, their scales in
  // [0, kScaleLimit) (state_rounding.h).
  virtual absl::Status Export(const State& state, int64_t layer, StatePart part, int64_t first,
                              int64_t count, absl::Span<std::byte> out) = 0;
  // Makes an EMPTY state hold `tokens` tokens with readable raw tokens first_raw .. tokens-1, that
  // Import then brings: every range of every (layer, part) once, in any order, by any threads. A
  // layer can be used as soon as all of it is there.
  virtual absl::Status PrepareImport(State& state, int64_t tokens, int64_t first_raw) = 0;
  virtual absl::Status Import(State& state, int64_t layer, StatePart part, int64_t first,
                              int64_t count, absl::Span<const std::byte> in) = 0;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_BACKEND_H_
