// AVX-512 with dot products of bf16 pairs: a 32-bit lane of a factor holds two neighbouring elements of the summed dimension, and
// one instruction multiplies and adds both of them in fp32.
#pragma once

#include "vectors/simd_avx512.h"

namespace hsap {

struct Avx512Bf16 : Avx512 {
  static constexpr int packed = 2;

  // sum += a.low * b.low + a.high * b.high. As in Avx512, the form that overwrites the sum.
  static void accumulate(F& sum, F a, F b) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }

  // 32 numbers as bf16, in order: those of a, then those of b.
  static F pack(F a, F b) {
    const __m512bh both = _mm512_cvtne2ps_pbh(b, a);
    F lanes;
    __builtin_memcpy(&lanes, &both, sizeof lanes);
    return lanes;
  }

  // Up to 32 bf16 as 16 pairs; those from `count` on are zero, and their memory is not touched.
  static F loadPairs(const Bf16* p, int count) {
    const __mmask32 mask = count >= 32 ? ~__mmask32{0} : count <= 0 ? __mmask32{0} : (__mmask32{1} << count) - 1;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, p));
  }

  // The first (high = false) or last 16 columns of two rows of 32 bf16, as pairs of one element of each row.
  static F interleave(F a, F b, bool high) {
    const __m512i step = _mm512_set1_epi32(high ? 0x00300010 : 0x00200000);
    const __m512i lane =
        _mm512_setr_epi32(0x00000000, 0x00010001, 0x00020002, 0x00030003, 0x00040004, 0x00050005, 0x00060006, 0x00070007,
                          0x00080008, 0x00090009, 0x000a000a, 0x000b000b, 0x000c000c, 0x000d000d, 0x000e000e, 0x000f000f);
    return _mm512_castsi512_ps(
        _mm512_permutex2var_epi16(_mm512_castps_si512(a), _mm512_add_epi16(lane, step), _mm512_castps_si512(b)));
  }
};

}  // namespace hsap
