// Eight fp32 lanes of AVX2 with FMA: the primitives the kernel templates are written in.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "hsap/bf16.h"
#include "vectors/log.h"

namespace hsap {

struct Avx2 {
  using F = __m256;
  static constexpr int width = 8;
  // A register tile is tileRows x 2 vectors: 12 accumulators, which leaves 4 of 16 registers for operands.
  static constexpr int tileRows = 6;
  // How many numbers a lane of a product's factors holds.
  static constexpr int packed = 1;
  // Whether a register tile leaves enough registers to compute exponentials beside it.
  static constexpr bool spareRegisters = false;

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  // Lanes from `count` on are zero, and their memory is not touched.
  static F loadPartial(const float* p, int count) { return _mm256_maskload_ps(p, below(count)); }
  static void storePartial(float* p, F x, int count) { _mm256_maskstore_ps(p, below(count), x); }

  static F load(const Bf16* p) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static F loadPartial(const Bf16* p, int count) {
    Bf16 lanes[width];
    for (int i = 0; i < width && i < count; ++i) lanes[i] = p[i];
    return load(lanes);
  }

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  // c - a * b
  static F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
  // What rounding a * b to ab lost.
  static F restOfProduct(F a, F b, F ab) { return _mm256_fmsub_ps(a, b, ab); }
  // sum += a * b. Left to itself, GCC also uses the forms of the instruction that overwrite a factor, and then has to move and
  // spill accumulators; this is the one that overwrites the sum.
  static void accumulate(F& sum, F a, F b) { asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b)); }
  // NaN in b is kept.
  static F max(F a, F b) { return _mm256_max_ps(a, b); }

  // Lanes below `count` from a, the others from b. count may lie outside of 0..width.
  static F selectBelow(int count, F a, F b) { return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(below(count))); }
  // Lanes where x > 0 from a, the others from b.
  static F selectPositive(F x, F a, F b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, zero(), _CMP_GT_OQ)); }

  static float sumLanes(F x) {
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
  }
  static float maxLanes(F x) {
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
  }

  // 2^t for t <= 63, error below 1.2 ulp, subnormal results and 2^-inf = 0 included.
  // t = n + j / 8 + r: 2^(j/8) comes from a table held in one register, 2^r from a polynomial of degree 3 (relative error
  // 2.6e-8 on |r| <= 1/16), 2^n is added to the exponent.
  static F exp2(F t) {
    F one[1] = {t};
    exp2(one);
    return one[0];
  }

  // The same for several vectors, step by step: one vector's chain of dependent operations takes ten times as long as its
  // operations.
  template <int count>
  [[gnu::always_inline]] static void exp2(F (&t)[count]) {
    // Entry j is 2^(64 + j/8) less j in the bits that j will be added to along with n.
    const F table = _mm256_castsi256_ps(_mm256_setr_epi32(0x5f800000, 0x5f8b95c2 - (1 << 20), 0x5f9837f0 - (2 << 20),
                                                          0x5fa5fed7 - (3 << 20), 0x5fb504f3 - (4 << 20), 0x5fc5672a - (5 << 20),
                                                          0x5fd744fd - (6 << 20), 0x5feac0c7 - (7 << 20)));
    // Adding 1.5 * 2^20 rounds to eighths and leaves 8 t in the low bits; below -151 every result rounds to zero.
    const F shift = set1(0x1.8p20f);
    F base[count], p[count];
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) t[i] = max(set1(-151.0f), t[i]);
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) base[i] = add(t[i], shift);
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) p[i] = sub(base[i], shift);
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) t[i] = sub(t[i], p[i]);
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) {
      const __m256i bits = _mm256_castps_si256(base[i]), entry = _mm256_castps_si256(_mm256_permutevar8x32_ps(table, bits));
      base[i] = _mm256_castsi256_ps(_mm256_add_epi32(entry, _mm256_slli_epi32(bits, 20)));
    }
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) p[i] = fma(set1(0x1.c6903cp-5f), t[i], set1(0x1.ec0c26p-3f));
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) p[i] = fma(p[i], t[i], set1(0x1.62e432p-1f));
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) p[i] = mul(p[i], t[i]);
      // The factor 2^64 in the table kept a subnormal result normal until this last rounding.
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) t[i] = mul(fma(p[i], base[i], base[i]), set1(0x1p-64f));
  }

  // Natural logarithm of a positive normal x, absolute error below 2e-7 + 1 ulp.
  static F log(F x) {
    // x = 2^exponent * mantissa with a mantissa in [1/sqrt 2, sqrt 2).
    const __m256i bits = _mm256_castps_si256(x), half = _mm256_set1_epi32(0x3f3504f3);
    const __m256i shifted = _mm256_sub_epi32(bits, half);
    const F exponent = _mm256_cvtepi32_ps(_mm256_srai_epi32(shifted, 23));
    return logOf<Avx2>(exponent,
                       _mm256_castsi256_ps(_mm256_add_epi32(_mm256_and_si256(shifted, _mm256_set1_epi32(0x7fffff)), half)));
  }

  // Transposes a width x width block: x[i] lane j becomes x[j] lane i.
  static void transpose(F (&x)[width]) {
    F y[width];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
      y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
      y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 4) {
      for (int h = 0; h < 2; ++h) {
        const __m256d a = _mm256_castps_pd(y[i + h]), b = _mm256_castps_pd(y[i + h + 2]);
        x[i + 2 * h] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
        x[i + 2 * h + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
      }
    }
    // Now x[4 g + c] holds columns c and c + 4 of the rows 4 g .. 4 g + 3, four lanes each.
#pragma GCC unroll 8
    for (int c = 0; c < 4; ++c) {
      y[c] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x20);
      y[c + 4] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) x[i] = y[i];
  }

 private:
  static F widen(__m128i bf16) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bf16), 16)); }
  static __m256i below(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

}  // namespace hsap
