// Kernels of a transformer layer around attention: matrix products, norms, rotary positions, activation, loss, optimiser.
//
// As the attention kernels they know pointers and strides only, exist once for each instruction set, accumulate in fp32 (long
// sums of rows in fp64) in an order that depends on the shapes alone, and add to their targets. Products take bf16 as it is
// stored; all else works on fp32, to and from which rows are converted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hsap/block_view.h"
#include "hsap/kernels.h"

namespace hsap {

// Where the elements along one axis lie: element i at (j / group) * groupStride + (j % group) * stride with j = begin + i. An
// axis without groups is one group.
struct Axis {
  std::int64_t count = 0, group = 0;
  std::ptrdiff_t stride = 0, groupStride = 0;
  std::int64_t begin = 0;

  // Always inlined, as everything here that files for several instruction sets use.
  [[gnu::always_inline]] std::ptrdiff_t offset(std::int64_t i) const {
    return ((begin + i) / group) * groupStride + ((begin + i) % group) * stride;
  }
  // `size` elements from `first` on.
  [[gnu::always_inline]] Axis part(std::int64_t first, std::int64_t size) const {
    return {size, group, stride, groupStride, begin + first};
  }
};

// A matrix as it lies in memory, of elements of a type that is known when a program runs. One of its axes has stride 1.
struct Matrix {
  std::byte* data = nullptr;
  ElementType type = ElementType::fp32;
  Axis rows, columns;
  bool readsAsBf16 = false;  // fp32 elements that are bf16 numbers, rounded, to whoever reads them

  [[gnu::always_inline]] Matrix transposed() const { return {data, type, columns, rows, readsAsBf16}; }
  [[gnu::always_inline]] Matrix someRows(std::int64_t first, std::int64_t count) const {
    return {data, type, rows.part(first, count), columns, readsAsBf16};
  }
  [[gnu::always_inline]] Matrix someColumns(std::int64_t first, std::int64_t count) const {
    return {data, type, rows, columns.part(first, count), readsAsBf16};
  }
  // Element (row, column); Element must be what the type says.
  template <class Element>
  [[gnu::always_inline]] Element* at(std::int64_t row, std::int64_t column) const {
    return reinterpret_cast<Element*>(data) + rows.offset(row) + columns.offset(column);
  }
};

// A block of rows x column groups of `width` columns.
[[gnu::always_inline]] inline Matrix matrixOf(const BlockView& view, std::int64_t rows, std::int64_t groups, std::int64_t width) {
  return {view.data, view.type, {rows, rows, view.tokenStride, 0}, {groups * width, width, 1, view.headStride}};
}

// One step of AdamW (Loshchilov, Hutter, arXiv 1711.05101), bias corrected. `step` counts from 1.
struct AdamW {
  double learningRate = 1e-3, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weightDecay = 0.1;
  std::int64_t step = 1;
};

// What long work calls now and then; it may throw to end the work.
struct Checkpoint {
  void (*call)(const void* context) = nullptr;
  const void* context = nullptr;
};

struct LayerKernels {
  Isa isa;
  // c += a b for c of fp32, c = a b for c of bf16. Where a or b is bf16, or reads as that, so is the product: a factor of fp32 is
  // rounded to bf16; sums are fp32 always. The columns of c have stride 1. Each element's sum has an order of its own that
  // depends on the depth alone, so parts of c may be computed by themselves. `checkpoint` is called after every few million
  // multiply-adds; it may throw.
  void (*multiplyAdd)(const Matrix& c, const Matrix& a, const Matrix& b, Scratch& scratch, const Checkpoint& checkpoint);
  // One row each. n += x * r * g with r = 1 / sqrt(mean(x^2) + epsilon).
  void (*rmsNorm)(const float* x, const float* g, float* n, std::int64_t columns, float epsilon);
  // dx += r * (g dn - x r * mean(g dn x r)), dg += dn x r. dg is a sum over many rows.
  void (*rmsNormGradient)(const float* x, const float* g, const float* dn, float* dx, double* dg, std::int64_t columns,
                          float epsilon);
  // y += x with each pair (x[i], x[i + half]) turned by the angle of which cosines and sines are given.
  void (*turn)(const float* x, float* y, const float* cosines, const float* sines, std::int64_t half);
  // m += gate * sigmoid(gate) * up
  void (*swiglu)(const float* gate, const float* up, float* m, std::int64_t count);
  void (*swigluGradient)(const float* gate, const float* up, const float* dm, float* dgate, float* dup, std::int64_t count);
  // y += x
  void (*add)(const float* x, float* y, std::int64_t count);
  double (*dot)(const float* a, const float* b, std::int64_t count);
  // Returns weight * (log-sum-exp of the logits - logits[label]) and adds its gradient. `probabilities` is room for a row.
  float (*crossEntropy)(const float* logits, float* dlogits, float* probabilities, std::int64_t classes, std::int64_t label,
                        float weight);
  // Logarithm of the sum of the exponentials of a row.
  double (*logSumExp)(const float* x, std::int64_t count);
  // Some columns of a row whose log-sum-exp over all columns is given: adds the gradient of weight times its cross-entropy, and
  // returns what these columns take from that, -weight * logits[label]; label is -1 if another column is meant.
  float (*crossEntropyShare)(const float* logits, float* dlogits, std::int64_t count, double logSumExp, std::int64_t label,
                             float weight);
  // bf16 as fp32; fp32 rounded to the nearest bf16, ties to even; and the same kept as fp32.
  void (*widen)(const Bf16* from, float* to, std::int64_t count);
  void (*round)(const float* from, Bf16* to, std::int64_t count);
  void (*roundAsFp32)(const float* from, float* to, std::int64_t count);
  void (*adamW)(float* w, const float* g, float* m, float* v, std::int64_t count, const AdamW& step);
};

// The kernels of an instruction set; null if this processor lacks it or the build left it out.
const LayerKernels* layerKernelsFor(Isa isa);

}  // namespace hsap
