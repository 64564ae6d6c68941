#include "strided_copy.h"

#include <cstring>

#include "hsap/inputs.h"

namespace hsap {

namespace {

void copyRun(float* target, const float* source, std::size_t count, bool bf16) {
  if (!bf16) {
    std::memcpy(target, source, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) target[i] = roundToBf16(source[i]);
}

}  // namespace

void copyBlock(const View& target, const View& source, std::int32_t tokens, std::int32_t heads, std::int32_t width, bool bf16) {
  // Rows that follow one another on both sides make one long run for each head.
  const bool dense = target.tokenStride == width && source.tokenStride == width;
  for (std::int32_t head = 0; head < heads; ++head) {
    float* into = target.data + head * target.headStride;
    const float* from = source.data + head * source.headStride;
    if (dense) {
      copyRun(into, from, static_cast<std::size_t>(tokens) * width, bf16);
      continue;
    }
    for (std::int32_t token = 0; token < tokens; ++token)
      copyRun(into + token * target.tokenStride, from + token * source.tokenStride, width, bf16);
  }
}

}  // namespace hsap
