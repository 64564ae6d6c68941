// Tile kernels of attention: the only numerical code of the engine besides merge and reduce.
//
// A tile is a block of queries against a block of keys and values for a range of query heads. Kernels know pointers and
// strides; tokens, documents and ranks are the schedule's business. Everything accumulates in fp32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hsap/bf16.h"

namespace hsap {

// avx512bf16 is avx512 with dot products of bf16 pairs for bf16 inputs; its fp32 kernels are those of avx512.
enum class Isa { scalar, avx2, avx512, avx512bf16 };
enum class Mask : std::uint8_t { full = 0, causal = 1 };

// A block of one tensor as it lies in memory: element (token t, head h, column c) is data[h * headStride + t * tokenStride + c].
template <class Element>
struct BasicView {
  Element* data = nullptr;
  std::ptrdiff_t headStride = 0;
  std::ptrdiff_t tokenStride = 0;
};
using View = BasicView<float>;
using Bf16View = BasicView<Bf16>;

// One unit of attention work. Query heads are local indices 0..heads-1; query head h reads kv head (h + groupOffset) / groupSize
// of the k and v views (groupSize = heads / kvHeads of the problem; groupOffset is where the tile's first head lies in its
// group). With mask causal, the pair (query i, key j), both counted from the tile's corner, is computed if and only if j <= i +
// causalOffset, where causalOffset = first query token - first key token in global coordinates (may be negative: then early rows
// of the tile see no key at all, and must be left as they were). q, k, v and dO are stored as Element; partial outputs and
// gradients, which are still added to, are always fp32.
template <class Element>
struct BasicTile {
  BasicView<Element> q, k, v;  // q: qTokens x heads x headDim; k, v: kTokens x kvHeads x headDim
  View o, lse;                 // forward: o like q, lse qTokens x heads x 1. Backward reads lse.
  BasicView<Element> dO;       // backward inputs: dO like q,
  View delta;                  // delta = rowsum(dO * o), like lse
  View dq, dk, dv;             // backward outputs, accumulated into
  std::int32_t qTokens = 0, kTokens = 0, heads = 0, headDim = 0;
  std::int32_t groupSize = 1, groupOffset = 0;
  std::int64_t causalOffset = 0;
  Mask mask = Mask::full;
};
using Tile = BasicTile<float>;
using Bf16Tile = BasicTile<Bf16>;

// Working memory of one thread (hsap/scratch.h). Grows on first use, is kept between calls, and never exceeds 2 MiB.
class Scratch;

// Forward: for each tile in order, softmax-weighted values are *merged exactly* into (o, lse), which hold a normalised
// partial: o = sum_j p_j v_j / sum_j p_j, lse = log sum_j exp(scale * q.k_j). A row that has seen no key is lse = -inf and o = 0,
// and the caller initialises rows to that. scale is 1 / sqrt(headDim). Consecutive tiles with the same o rows may be
// fused (one online softmax over all of them), as the result depends only on the tile list, never on threads or timing.
// Backward: for each tile in order, dq, dk, dv are added to: p = exp(scale * q.k - lse), dv += p' dO, ds = p * (dO.v - delta),
// dq += scale * ds k, dk += scale * ds' q. Rows with lse = -inf contribute nothing (and no NaN).
struct Kernels {
  Isa isa;
  void (*forward)(const Tile* tiles, std::size_t count, Scratch& scratch);
  void (*backward)(const Tile* tiles, std::size_t count, Scratch& scratch);
  // The same on bf16 inputs. Inputs are widened to fp32, but for avx512bf16 forward, which also rounds probabilities to bf16.
  void (*forwardBf16)(const Bf16Tile* tiles, std::size_t count, Scratch& scratch);
  void (*backwardBf16)(const Bf16Tile* tiles, std::size_t count, Scratch& scratch);
  // Merges the partial (oFrom, lseFrom) into (o, lse), rows x headDim, in log-sigmoid form: with delta = lseFrom - lse,
  // o += sigmoid(delta) * (oFrom - o), lse += softplus(delta); two -inf partials stay -inf.
  void (*merge)(const View& o, const View& lse, const View& oFrom, const View& lseFrom, std::int32_t tokens, std::int32_t heads,
                std::int32_t headDim);
  // target += source.
  void (*reduce)(const View& target, const View& source, std::int32_t tokens, std::int32_t heads, std::int32_t width);
  // result[i] = 2^t[i], t <= 63: the exponential of all of the above (softmax is taken in base 2), within 2 ulp.
  void (*exp2)(const float* t, float* result, std::size_t count);
};

// The best instruction set of this processor for fp32 and for bf16 inputs, and the kernels of a given one (null if this processor
// lacks it or the build left it out).
Isa bestIsa();
Isa bestIsaForBf16();
const Kernels* kernelsFor(Isa isa);
const char* isaName(Isa isa);

}  // namespace hsap
