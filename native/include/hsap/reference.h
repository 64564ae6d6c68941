// Non-parallel attention in float64: the oracle every engine result is checked against. It shares no code with the kernels.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace hsap::reference {

// What a computation ends with soon after its problem's `cancelled` was set.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

// A packed batch and its attention. Tensors are fp32 arrays [head][token][headDim] with `heads` heads for q and dO and `kvHeads`
// for k and v; query head h reads kv head h / (heads / kvHeads). Document d is the tokens cuSeqlens[d] .. cuSeqlens[d + 1], and
// no token attends outside of its document. cuSeqlens has documents + 1 entries and starts with 0.
struct Problem {
  std::int32_t heads = 0, kvHeads = 0, headDim = 0;
  const std::int32_t* cuSeqlens = nullptr;
  std::size_t documents = 0;
  bool causal = true;                            // true: token i of a document sees tokens 0..i of it; false: all of it
  const std::atomic<bool>* cancelled = nullptr;  // if given, another thread may set it
};

// o [heads][tokens][headDim] and lse [heads][tokens] (natural logarithm of the sum of exp(q.k / sqrt(headDim))).
// Work is dealt to `threads` threads by (document, kv head); the result does not depend on their number.
// Throws std::invalid_argument when heads are not a multiple of kvHeads or cuSeqlens is not ascending from 0.
void forward(const Problem& problem, const float* q, const float* k, const float* v, double* o, double* lse, int threads = 1);

// Gradients of sum(dO * o): dq [heads][tokens][headDim], dk and dv [kvHeads][tokens][headDim]. Throws as forward does.
void backward(const Problem& problem, const float* q, const float* k, const float* v, const float* dO, double* dq, double* dk,
              double* dv, int threads = 1);

}  // namespace hsap::reference
