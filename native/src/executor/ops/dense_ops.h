// The dense loops behind the unfused ops, compiled once for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hsap/kernels.h"

namespace hsap {

struct DenseOps {
  // c[i][j] += factor * sum_l a[i * aRow + l * aColumn] * b[l][j] for i < rows, j < columns, l < depth.
  void (*multiplyAdd)(float* c, std::ptrdiff_t cRow, const float* a, std::ptrdiff_t aRow, std::ptrdiff_t aColumn, const float* b,
                      std::ptrdiff_t bRow, std::int64_t rows, std::int64_t columns, std::int64_t depth, float factor);
  // The largest of count > 0 values.
  float (*maximum)(const float* values, std::int64_t count);
  // values[i] = exp(values[i] - shift), 0 for -inf; returns their sum. No value exceeds shift by more than 80.
  float (*exponentiate)(float* values, std::int64_t count, float shift);
  // values[i] *= factor
  void (*scale)(float* values, std::int64_t count, float factor);
  // values[i] *= factors[i] - shift
  void (*multiplyShifted)(float* values, const float* factors, std::int64_t count, float shift);
};

// Throws std::runtime_error if the build left the instruction set out.
const DenseOps& denseOpsFor(Isa isa);

}  // namespace hsap
