// Sixteen fp32 lanes of AVX-512 (F, DQ, BW, VL): the primitives the kernel templates are written in.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "hsap/bf16.h"
#include "vectors/log.h"

namespace hsap {

struct Avx512 {
  using F = __m512;
  static constexpr int width = 16;
  // A register tile is tileRows x 2 vectors: 24 accumulators, which leaves 8 of 32 registers for operands.
  static constexpr int tileRows = 12;
  // How many numbers a lane of a product's factors holds.
  static constexpr int packed = 1;
  // Whether a register tile leaves enough registers to compute exponentials beside it.
  static constexpr bool spareRegisters = true;

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  // Lanes from `count` on are zero, and their memory is not touched.
  static F loadPartial(const float* p, int count) { return _mm512_maskz_loadu_ps(below(count), p); }
  static void storePartial(float* p, F x, int count) { _mm512_mask_storeu_ps(p, below(count), x); }

  static F load(const Bf16* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static F loadPartial(const Bf16* p, int count) { return widen(_mm256_maskz_loadu_epi16(below(count), p)); }

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  // c - a * b
  static F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  // What rounding a * b to ab lost.
  static F restOfProduct(F a, F b, F ab) { return _mm512_fmsub_ps(a, b, ab); }
  // sum += a * b. Left to itself, GCC also uses the forms of the instruction that overwrite a factor, and then has to move and
  // spill accumulators; this is the one that overwrites the sum.
  static void accumulate(F& sum, F a, F b) { asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }
  // NaN in b is kept.
  static F max(F a, F b) { return _mm512_max_ps(a, b); }

  // Lanes below `count` from a, the others from b. count may lie outside of 0..width.
  static F selectBelow(int count, F a, F b) { return _mm512_mask_blend_ps(below(count), b, a); }
  // Lanes where x > 0 from a, the others from b.
  static F selectPositive(F x, F a, F b) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, zero(), _CMP_GT_OQ), b, a); }

  static float sumLanes(F x) { return _mm512_reduce_add_ps(x); }
  static float maxLanes(F x) { return _mm512_reduce_max_ps(x); }

  // 2^t for t <= 127, error below 1 ulp, subnormal results and 2^-inf = 0 included.
  // t = n + j / 16 + r: 2^(j/16) comes from a table held in one register, 2^r from a polynomial of degree 3 (relative error
  // 1.6e-9 on |r| <= 1/32), 2^n is applied to the exponent.
  static F exp2(F t) {
    const F table = _mm512_setr_ps(0x1p0f, 0x1.0b5586p0f, 0x1.172b84p0f, 0x1.2387a6p0f, 0x1.306fe0p0f, 0x1.3dea64p0f,
                                   0x1.4bfdaep0f, 0x1.5ab07ep0f, 0x1.6a09e6p0f, 0x1.7a1148p0f, 0x1.8ace54p0f, 0x1.9c4918p0f,
                                   0x1.ae89fap0f, 0x1.c199bep0f, 0x1.d5818ep0f, 0x1.ea4afap0f);
    // Adding 1.5 * 2^19 rounds to sixteenths and leaves 16 t in the low bits; below -151 every result rounds to zero.
    const F shift = set1(0x1.8p19f);
    t = max(set1(-151.0f), t);
    const F shifted = add(t, shift);
    const F rounded = sub(shifted, shift);
    const F r = sub(t, rounded);
    const F base = _mm512_permutexvar_ps(_mm512_castps_si512(shifted), table);
    F p = fma(set1(0x1.c6aceap-5f), r, set1(0x1.ebfff4p-3f));
    p = fma(p, r, set1(0x1.62e430p-1f));
    p = mul(p, r);
    // scalef takes the floor of its exponent, so the sixteenths need not be removed.
    return _mm512_scalef_ps(fma(p, base, base), rounded);
  }

  template <int count>
  [[gnu::always_inline]] static void exp2(F (&t)[count]) {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) t[i] = exp2(t[i]);
  }

  // Natural logarithm of a positive normal x, absolute error below 2e-7 + 1 ulp.
  static F log(F x) {
    // x = 2^exponent * mantissa with a mantissa in [0.75, 1.5).
    const F mantissa = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
    return logOf<Avx512>(_mm512_getexp_ps(div(x, mantissa)), mantissa);
  }

  // Transposes a width x width block: x[i] lane j becomes x[j] lane i.
  static void transpose(F (&x)[width]) {
    F y[width];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
      y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
      y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) {
      for (int h = 0; h < 2; ++h) {
        const __m512d a = _mm512_castps_pd(y[i + h]), b = _mm512_castps_pd(y[i + h + 2]);
        x[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        x[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
      }
    }
    // Now x[4 g + c] holds columns c, c + 4, c + 8, c + 12 of the rows 4 g .. 4 g + 3, four lanes each.
#pragma GCC unroll 16
    for (int c = 0; c < 4; ++c) {
      const F a = _mm512_shuffle_f32x4(x[c], x[c + 4], 0x88), b = _mm512_shuffle_f32x4(x[c], x[c + 4], 0xdd);
      const F d = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0x88), e = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0xdd);
      y[c] = _mm512_shuffle_f32x4(a, d, 0x88);
      y[c + 8] = _mm512_shuffle_f32x4(a, d, 0xdd);
      y[c + 4] = _mm512_shuffle_f32x4(b, e, 0x88);
      y[c + 12] = _mm512_shuffle_f32x4(b, e, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) x[i] = y[i];
  }

 private:
  static F widen(__m256i bf16) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16)); }
  static __mmask16 below(int count) {
    return count >= width ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : __mmask16((1u << count) - 1);
  }
};

}  // namespace hsap
