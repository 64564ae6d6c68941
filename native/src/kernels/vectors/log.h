// The natural logarithm that the instruction sets without one of their own share.
#pragma once

namespace hsap {

// ln(2^exponent * mantissa) for a mantissa between 1/sqrt 2 and 1.5: exponent * ln 2 + 2 atanh((mantissa - 1) / (mantissa + 1)),
// atanh by the first six terms of its series. Absolute error below 2e-7 + 1 ulp.
template <class Simd>
[[gnu::always_inline]] inline typename Simd::F logOf(typename Simd::F exponent, typename Simd::F mantissa) {
  using F = typename Simd::F;
  const F one = Simd::set1(1), z = Simd::div(Simd::sub(mantissa, one), Simd::add(mantissa, one)), z2 = Simd::mul(z, z);
  F p = Simd::fma(Simd::set1(2.0f / 11), z2, Simd::set1(2.0f / 9));
  p = Simd::fma(p, z2, Simd::set1(2.0f / 7));
  p = Simd::fma(p, z2, Simd::set1(2.0f / 5));
  p = Simd::fma(p, z2, Simd::set1(2.0f / 3));
  p = Simd::fma(Simd::mul(p, z2), z, Simd::add(z, z));
  return Simd::fma(exponent, Simd::set1(0x1.62e430p-1f), p);
}

}  // namespace hsap
