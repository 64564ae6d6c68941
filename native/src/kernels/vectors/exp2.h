// The exponential of the kernels over an array, so that tests can measure it.
#pragma once

#include <cstddef>

namespace hsap {

template <class Simd>
void exp2Array(const float* t, float* result, std::size_t count) {
  std::size_t i = 0;
  for (; i + Simd::width <= count; i += Simd::width) Simd::store(result + i, Simd::exp2(Simd::load(t + i)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) Simd::storePartial(result + i, Simd::exp2(Simd::loadPartial(t + i, rest)), rest);
}

}  // namespace hsap
