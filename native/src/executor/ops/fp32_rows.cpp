#include "ops/fp32_rows.h"

#include <algorithm>

namespace hsap {

Fp32Rows::Fp32Rows(const LayerKernels& kernels, const std::vector<LayerBlock>& blocks)
    : kernels_(kernels), blocks_(blocks), copies_(blocks.size()) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].isBf16() || blocks[i].isSumOfBf16) copies_[i].resize(static_cast<std::size_t>(blocks[i].width));
  }
}

const float* Fp32Rows::source(std::int32_t operand, std::int64_t row, std::int64_t group) {
  const LayerBlock& block = blocks_[operand];
  float* copy = copies_[operand].data();
  if (block.isBf16()) {
    kernels_.widen(block.row<Bf16>(row, group), copy, block.width);
  } else if (block.isSumOfBf16) {
    kernels_.roundAsFp32(block.row<float>(row, group), copy, block.width);
  } else {
    return block.row<float>(row, group);
  }
  return copy;
}

float* Fp32Rows::target(std::int32_t operand, std::int64_t row, std::int64_t group) {
  const LayerBlock& block = blocks_[operand];
  float* to = block.isBf16() ? copies_[operand].data() : block.row<float>(row, group);
  if (!block.accumulates) std::fill_n(to, block.width, 0.0f);
  return to;
}

void Fp32Rows::store(std::int32_t operand, std::int64_t row, std::int64_t group) const {
  const LayerBlock& block = blocks_[operand];
  if (block.isBf16()) kernels_.round(copies_[operand].data(), block.row<Bf16>(row, group), block.width);
}

}  // namespace hsap
