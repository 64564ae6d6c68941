// Rows of blocks as the kernels of a layer take them: fp32.
#pragma once

#include <vector>

#include "hsap/layer.h"
#include "ops/layer_block.h"

namespace hsap {

// One row of each operand of an op: where it lies if that is fp32, otherwise a copy of what is stored as bf16 or reads as that.
// For one thread.
class Fp32Rows {
 public:
  Fp32Rows(const LayerKernels& kernels, const std::vector<LayerBlock>& blocks);

  // The row as it reads.
  const float* source(std::int32_t operand, std::int64_t row, std::int64_t group);
  // The row that an op is about to add to, zero if the op sets it. What is stored as bf16 is set by `store` with the same place.
  float* target(std::int32_t operand, std::int64_t row, std::int64_t group);
  void store(std::int32_t operand, std::int64_t row, std::int64_t group) const;

 private:
  const LayerKernels& kernels_;
  const std::vector<LayerBlock>& blocks_;
  std::vector<std::vector<float>> copies_;  // by operand; empty for what is read where it lies
};

}  // namespace hsap
