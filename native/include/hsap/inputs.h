// Input tensors that every rank generates for itself: each element is a function of where it stands and of a seed.
#pragma once

#include <cstdint>
#include <optional>

#include "hsap/kernels.h"

namespace hsap {

enum class InputTensor : std::uint32_t { q = 0, k = 1, v = 2, dO = 3 };

// Gives the tokens [tokenBegin, tokenEnd) the values of another seed: what a contamination probe changes.
struct Perturbation {
  std::int32_t tokenBegin = 0, tokenEnd = 0;
  std::uint64_t seed = 0;
};

// Elements are independent and roughly normal (a sum of four uniform 16-bit numbers) with mean 0 and variance 1. The value of
// an element depends on nothing but its (tensor, token, head, column) and the seed, and is the same bit for bit on every
// platform: integer hashing, then one correctly rounded product.
struct InputSource {
  std::uint64_t seed = 1;
  std::optional<Perturbation> perturbation;
  bool bf16 = false;  // rounds each element to the nearest bf16, ties to even

  float element(InputTensor tensor, std::int32_t token, std::int32_t head, std::int32_t column) const;

  // Fills tokens [tokenBegin, tokenEnd) x heads [headBegin, headEnd) x width columns; target points at the first of them.
  void fill(InputTensor tensor, const View& target, std::int32_t tokenBegin, std::int32_t tokenEnd, std::int32_t headBegin,
            std::int32_t headEnd, std::int32_t width) const;
};

// The nearest bf16 value, ties to even, as fp32. NaN stays NaN.
float roundToBf16(float value);

}  // namespace hsap
