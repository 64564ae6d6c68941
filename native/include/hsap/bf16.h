// The bfloat16 storage type: the upper half of an fp32 number.
#pragma once

#include <cstdint>
#include <cstring>

namespace hsap {

struct Bf16 {
  std::uint16_t bits = 0;
};

// Exact. Always inlined: files compiled for one instruction set must not share a copy with the others.
[[gnu::always_inline]] inline float toFloat(Bf16 x) {
  const std::uint32_t bits = std::uint32_t{x.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Rounds to the nearest, ties to even, as hardware does; NaN stays NaN.
[[gnu::always_inline]] inline Bf16 toBf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

}  // namespace hsap
