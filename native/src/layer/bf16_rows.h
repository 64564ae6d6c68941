// Rows of bf16 to rows of fp32 and back. Plain loops: compilers make vectors of each instruction set of them.
#pragma once

#include <cstdint>
#include <cstring>

#include "hsap/bf16.h"

namespace hsap {

namespace {  // Each instruction set's file gets copies compiled with its own flags.

[[maybe_unused]] void convert(const Bf16* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = toFloat(from[i]);
}

void convert(const float* from, Bf16* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = toBf16(from[i]);
}

// To the value that bf16 would keep of it.
[[maybe_unused]] void convert(const float* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = toFloat(toBf16(from[i]));
}

[[maybe_unused]] void convert(const Bf16* from, Bf16* to, std::int64_t count) {
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof *to);
}

}  // namespace

}  // namespace hsap
