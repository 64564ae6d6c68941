// Four fp32 lanes in the compilers' portable vector extension: the primitives the kernel templates are written in, for any
// processor. On x86-64 they become SSE2, on AArch64 NEON.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "hsap/bf16.h"

namespace hsap {

struct Portable {
  typedef float F __attribute__((vector_size(16)));
  typedef std::int32_t I __attribute__((vector_size(16)));
  static constexpr int width = 4;
  // A register tile is tileRows x 2 vectors: 8 accumulators, which leaves half of 16 registers for operands.
  static constexpr int tileRows = 4;
  // How many numbers a lane of a product's factors holds.
  static constexpr int packed = 1;
  // Whether a register tile leaves enough registers to compute exponentials beside it.
  static constexpr bool spareRegisters = false;

  static F load(const float* p) {
    F x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
  // Lanes from `count` on are zero, and their memory is not touched.
  static F loadPartial(const float* p, int count) {
    F x = zero();
    for (int i = 0; i < width && i < count; ++i) x[i] = p[i];
    return x;
  }
  static void storePartial(float* p, F x, int count) {
    for (int i = 0; i < width && i < count; ++i) p[i] = x[i];
  }

  static F load(const Bf16* p) { return F{toFloat(p[0]), toFloat(p[1]), toFloat(p[2]), toFloat(p[3])}; }
  static F loadPartial(const Bf16* p, int count) {
    F x = zero();
    for (int i = 0; i < width && i < count; ++i) x[i] = toFloat(p[i]);
    return x;
  }

  static F zero() { return F{}; }
  static F set1(float x) { return F{x, x, x, x}; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F fma(F a, F b, F c) { return a * b + c; }
  // c - a * b
  static F fnma(F a, F b, F c) { return c - a * b; }
  // What rounding a * b to ab lost: products of two fp32 numbers are exact in double.
  static F restOfProduct(F a, F b, F ab) {
    F rest;
    for (int i = 0; i < width; ++i) rest[i] = static_cast<float>(static_cast<double>(a[i]) * b[i] - ab[i]);
    return rest;
  }
  // sum += a * b
  static void accumulate(F& sum, F a, F b) { sum = sum + a * b; }
  // NaN in b is kept.
  static F max(F a, F b) { return a > b ? a : b; }

  // Lanes below `count` from a, the others from b. count may lie outside of 0..width.
  static F selectBelow(int count, F a, F b) { return I{0, 1, 2, 3} < I{count, count, count, count} ? a : b; }
  // Lanes where x > 0 from a, the others from b.
  static F selectPositive(F x, F a, F b) { return x > zero() ? a : b; }

  static float sumLanes(F x) { return (x[0] + x[2]) + (x[1] + x[3]); }
  static float maxLanes(F x) {
    const float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
  }

  // 2^t for t <= 63, error below 1.1 ulp, subnormal results and 2^-inf = 0 included.
  // t = n + r: 2^r is a polynomial of degree 6 (relative error 3e-9 on |r| <= 1/2), 2^n is added to the exponent.
  static F exp2(F t) {
    // Adding 1.5 * 2^23 rounds to whole numbers and leaves n in the low bits; below -151 every result rounds to zero.
    const F shift = set1(0x1.8p23f);
    t = max(set1(-151.0f), t);
    const F shifted = t + shift;
    const F r = t - (shifted - shift);
    F p = set1(0x1.417a9cp-13f) * r + set1(0x1.5f0948p-10f);
    p = p * r + set1(0x1.3b2dd2p-7f);
    p = p * r + set1(0x1.c6af7ap-5f);
    p = p * r + set1(0x1.ebfbdcp-3f);
    p = p * r + set1(0x1.62e430p-1f);
    p = p * r + set1(1.0f);
    // 2^n is made as 2^(n + 64), so that a subnormal result stays normal until the last rounding.
    // Unsigned, so that a t above 63 (of a broken program's numbers) gives a wrong value and nothing worse.
    using Bits = std::uint32_t __attribute__((vector_size(16)));
    constexpr std::uint32_t bias = (127 + 64) << 23;
    const Bits power = (reinterpret_cast<Bits>(asInt(shifted)) << 23) + Bits{bias, bias, bias, bias};
    return p * asFloat(reinterpret_cast<I>(power)) * set1(0x1p-64f);
  }

  template <int count>
  [[gnu::always_inline]] static void exp2(F (&t)[count]) {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) t[i] = exp2(t[i]);
  }

  static F log(F x) { return F{std::log(x[0]), std::log(x[1]), std::log(x[2]), std::log(x[3])}; }

  // Transposes a width x width block: x[i] lane j becomes x[j] lane i.
  static void transpose(F (&x)[width]) {
    F y[width];
    for (int i = 0; i < width; ++i) y[i] = F{x[0][i], x[1][i], x[2][i], x[3][i]};
    for (int i = 0; i < width; ++i) x[i] = y[i];
  }

 private:
  static I asInt(F x) {
    I bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
  }
  static F asFloat(I bits) {
    F x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
};

}  // namespace hsap
