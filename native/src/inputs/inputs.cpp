#include "hsap/inputs.h"

#include "hsap/bf16.h"

namespace hsap {

namespace {

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio: the step of a Weyl sequence

// A bijection of 64 bits in which every input bit changes about half of the output bits (the finaliser of SplitMix64).
constexpr std::uint64_t mix(std::uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return bits ^ (bits >> 31);
}

std::uint64_t rowKey(std::uint64_t seed, InputTensor tensor, std::int32_t token, std::int32_t head) {
  const auto place = static_cast<std::uint64_t>(static_cast<std::uint32_t>(token)) << 32 | static_cast<std::uint32_t>(head);
  return mix(mix(seed + golden * (1 + static_cast<std::uint64_t>(tensor))) ^ mix(place + golden));
}

// The sum of four independent numbers of 0..65535 has mean 131070 and variance 4 * (2^32 - 1) / 12.
constexpr std::int32_t meanOfSum = 131070;
constexpr float inverseDeviation = 1.0f / 37837.22746f;

float normalLike(std::uint64_t bits) {
  const auto sum = static_cast<std::int32_t>((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
  return static_cast<float>(sum - meanOfSum) * inverseDeviation;
}

float elementOfRow(std::uint64_t key, std::int32_t column) {
  return normalLike(mix(key + golden * static_cast<std::uint32_t>(column + 1)));
}

std::uint64_t seedOf(const InputSource& source, std::int32_t token) {
  const auto& perturbation = source.perturbation;
  const bool perturbed = perturbation && perturbation->tokenBegin <= token && token < perturbation->tokenEnd;
  return perturbed ? perturbation->seed : source.seed;
}

}  // namespace

float InputSource::element(InputTensor tensor, std::int32_t token, std::int32_t head, std::int32_t column) const {
  const float value = elementOfRow(rowKey(seedOf(*this, token), tensor, token, head), column);
  return bf16 ? roundToBf16(value) : value;
}

void InputSource::fill(InputTensor tensor, const View& target, std::int32_t tokenBegin, std::int32_t tokenEnd,
                       std::int32_t headBegin, std::int32_t headEnd, std::int32_t width) const {
  for (std::int32_t head = headBegin; head < headEnd; ++head) {
    for (std::int32_t token = tokenBegin; token < tokenEnd; ++token) {
      const std::uint64_t key = rowKey(seedOf(*this, token), tensor, token, head);
      float* row = target.data + (head - headBegin) * target.headStride + (token - tokenBegin) * target.tokenStride;
      for (std::int32_t column = 0; column < width; ++column) row[column] = elementOfRow(key, column);
      if (!bf16) continue;
      for (std::int32_t column = 0; column < width; ++column) row[column] = roundToBf16(row[column]);
    }
  }
}

float roundToBf16(float value) { return toFloat(toBf16(value)); }

}  // namespace hsap
