// The training kernels that go row by row: RMS norm with the residual sum before it, SwiGLU, and
// cross entropy. Values are f32 or bf16, the arithmetic is f32; rows may have any length.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "vector.h"

namespace {

constexpr float kLog2E = 1.44269504f;

// Which lanes of a vector hold values: all, or the first few.
struct Full {};
struct Few {
  int64_t count;
};

template <typename T>
Vec Get(const T* p, Full, float /*fill*/ = 0) {
  return Load(p);
}
template <typename T>
Vec Get(const T* p, Few lanes, float fill = 0) {
  return LoadFew(p, lanes.count, fill);
}
template <typename T>
void Put(T* p, Vec x, Full) {
  Store(p, x);
}
template <typename T>
void Put(T* p, Vec x, Few lanes) {
  StoreFew(p, x, lanes.count);
}

// Calls work(i, lanes) for the vectors of a row of n values.
template <typename Work>
inline void ForEachVector(int64_t n, const Work& work) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) work(i, Full{});
  if (i < n) work(i, Few{n - i});
}

Vec Sigmoid(Vec x) {
  const Vec power = x * -kLog2E;
  return 1.0f / (1.0f + Exp2(power < 126.0f ? power : All(126.0f)));
}

template <typename T>
void Norm(int64_t rows, int64_t n, const float* x, const Bf16* added, const float* weight,
          float eps, float* sum, T* out, float* scales, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t row = 0; row < rows; ++row) {
    const float* in = x + row * n;
    Vec squares = {};
    if (added != nullptr) {
      ForEachVector(n, [&](int64_t i, auto lanes) {
        const Vec value = Get(in + i, lanes) + Get(added + row * n + i, lanes);
        Put(sum + row * n + i, value, lanes);
        squares += value * value;
      });
      in = sum + row * n;
    } else {
      ForEachVector(n, [&](int64_t i, auto lanes) {
        const Vec value = Get(in + i, lanes);
        squares += value * value;
      });
    }
    const float scale = 1 / std::sqrt(Sum(squares) / n + eps);
    scales[row] = scale;
    ForEachVector(n, [&](int64_t i, auto lanes) {
      Put(out + row * n + i, Get(in + i, lanes) * scale * Get(weight + i, lanes), lanes);
    });
  }
}

template <typename T>
void NormGradient(int64_t rows, int64_t n, const float* x, const float* weight, const float* scales,
                  const T* dout, const float* dsum, float* dx, Bf16* dadded, float* dweight,
                  int threads) {
  std::fill_n(dweight, n, 0.0f);
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> own(n);  // this thread's part of dweight
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = row * n;
      const float scale = scales[row];
      Vec dots = {};
      ForEachVector(n, [&](int64_t i, auto lanes) {
        const Vec scaled = Get(dout + at + i, lanes) * Get(x + at + i, lanes);
        dots += scaled * Get(weight + i, lanes);
        Put(&own[i], Get(&own[i], lanes) + scaled * scale, lanes);
      });
      const float shrink = Sum(dots) * scale * scale * scale / n;
      ForEachVector(n, [&](int64_t i, auto lanes) {
        Vec value = Get(dout + at + i, lanes) * Get(weight + i, lanes) * scale -
                    Get(x + at + i, lanes) * shrink;
        if (dsum != nullptr) value += Get(dsum + at + i, lanes);
        Put(dx + at + i, value, lanes);
        if (dadded != nullptr) Put(dadded + at + i, value, lanes);
      });
    }
#pragma omp critical
    for (int64_t i = 0; i < n; ++i) dweight[i] += own[i];
  }
}

template <typename T>
void SwiGlu(int64_t rows, int64_t n, const T* gate_up, T* out, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t row = 0; row < rows; ++row) {
    const T* gates = gate_up + row * 2 * n;
    ForEachVector(n, [&](int64_t i, auto lanes) {
      const Vec gate = Get(gates + i, lanes);
      Put(out + row * n + i, gate * Sigmoid(gate) * Get(gates + n + i, lanes), lanes);
    });
  }
}

template <typename T>
void SwiGluGradient(int64_t rows, int64_t n, const T* gate_up, const T* dout, T* dgate_up,
                    int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t row = 0; row < rows; ++row) {
    const T* gates = gate_up + row * 2 * n;
    T* dgates = dgate_up + row * 2 * n;
    ForEachVector(n, [&](int64_t i, auto lanes) {
      const Vec gate = Get(gates + i, lanes), up = Get(gates + n + i, lanes);
      const Vec gradient = Get(dout + row * n + i, lanes);
      const Vec sigmoid = Sigmoid(gate);
      const Vec slope = sigmoid * (1.0f + gate * (1.0f - sigmoid));
      Put(dgates + i, gradient * up * slope, lanes);
      Put(dgates + n + i, gradient * gate * sigmoid, lanes);
    });
  }
}

template <typename T>
void CrossEntropy(int64_t rows, int64_t n, T* logits, const int64_t* targets, const float* weights,
                  bool gradient, float* losses, bool* right, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t row = 0; row < rows; ++row) {
    constexpr float kNothing = -1e30f;
    T* x = logits + row * n;
    const int64_t target = targets[row];
    const float wanted = LoadFew(x + target, 1, 0)[0];
    Vec maxima = All(kNothing);
    ForEachVector(
        n, [&](int64_t i, auto lanes) { maxima = Max(maxima, Get(x + i, lanes, kNothing)); });
    const float largest = Largest(maxima);
    right[row] = wanted == largest;
    for (int64_t i = 0; right[row] && i < target; ++i) {  // of equals, the first counts
      right[row] = LoadFew(x + i, 1, 0)[0] != largest;
    }
    Vec sums = {};
    ForEachVector(n, [&](int64_t i, auto lanes) {
      sums += Exp2((Get(x + i, lanes, kNothing) - largest) * kLog2E);
    });
    const float sum = Sum(sums);
    losses[row] = largest - wanted + std::log(sum);
    if (!gradient) continue;
    const float scale = weights[row] / sum;
    const float probability = std::exp(wanted - largest) / sum;
    ForEachVector(n, [&](int64_t i, auto lanes) {
      Put(x + i, scale * Exp2((Get(x + i, lanes) - largest) * kLog2E), lanes);
    });
    StoreFew(x + target, All(weights[row] * (probability - 1)), 1);
  }
}

}  // namespace

extern "C" {

// out = norm of x (+ added, when not null, and then sum is what was normed); scales: 1 / rms.
void longleaf_norm(int64_t rows, int64_t n, const float* x, const Bf16* added, const float* weight,
                   float eps, float* sum, void* out, bool bf16, float* scales, int threads) {
  if (bf16) {
    Norm(rows, n, x, added, weight, eps, sum, static_cast<Bf16*>(out), scales, threads);
  } else {
    Norm(rows, n, x, added, weight, eps, sum, static_cast<float*>(out), scales, threads);
  }
}

// x is what was normed; dsum (its gradient from elsewhere) and dadded may be null.
void longleaf_norm_gradient(int64_t rows, int64_t n, const float* x, const float* weight,
                            const float* scales, const void* dout, bool bf16, const float* dsum,
                            float* dx, Bf16* dadded, float* dweight, int threads) {
  if (bf16) {
    NormGradient(rows, n, x, weight, scales, static_cast<const Bf16*>(dout), dsum, dx, dadded,
                 dweight, threads);
  } else {
    NormGradient(rows, n, x, weight, scales, static_cast<const float*>(dout), dsum, dx, dadded,
                 dweight, threads);
  }
}

void longleaf_swiglu(int64_t rows, int64_t n, const void* gate_up, void* out, bool bf16,
                     int threads) {
  if (bf16) {
    SwiGlu(rows, n, static_cast<const Bf16*>(gate_up), static_cast<Bf16*>(out), threads);
  } else {
    SwiGlu(rows, n, static_cast<const float*>(gate_up), static_cast<float*>(out), threads);
  }
}

void longleaf_swiglu_gradient(int64_t rows, int64_t n, const void* gate_up, const void* dout,
                              void* dgate_up, bool bf16, int threads) {
  if (bf16) {
    SwiGluGradient(rows, n, static_cast<const Bf16*>(gate_up), static_cast<const Bf16*>(dout),
                   static_cast<Bf16*>(dgate_up), threads);
  } else {
    SwiGluGradient(rows, n, static_cast<const float*>(gate_up), static_cast<const float*>(dout),
                   static_cast<float*>(dgate_up), threads);
  }
}

// With `gradient`, the logits become that of the sum of weight * loss.
void longleaf_cross_entropy(int64_t rows, int64_t n, void* logits, bool bf16,
                            const int64_t* targets, const float* weights, bool gradient,
                            float* losses, bool* right, int threads) {
  if (bf16) {
    CrossEntropy(rows, n, static_cast<Bf16*>(logits), targets, weights, gradient, losses, right,
                 threads);
  } else {
    CrossEntropy(rows, n, static_cast<float*>(logits), targets, weights, gradient, losses, right,
                 threads);
  }
}

}  // extern "C"
