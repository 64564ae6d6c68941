// One case of the benchmark: a packed batch with its tensors, ready to be computed by any instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "hsap/bench.h"
#include "hsap/scratch.h"

namespace hsap::bench {

// Tensors are [head][token][headDim], one tile per document.
class BenchCase {
 public:
  BenchCase(const std::vector<std::int32_t>& lengths, std::int32_t heads, std::int32_t kvHeads, std::int32_t headDim, Mask mask,
            Pass pass, DType dtype = DType::fp32);
  BenchCase(const BenchCase&) = delete;

  std::int64_t tokens() const { return cuSeqlens_.back(); }
  // Operations of one run, counting visible pairs only.
  double operations() const;
  // Empties the outputs of forward; gradients just keep growing.
  void reset();
  void run(const Kernels& kernels, Scratch& scratch);
  // Runs once and compares with the float64 reference.
  double relativeError(const Kernels& kernels, Scratch& scratch);

 private:
  std::vector<std::int32_t> cuSeqlens_;
  std::int32_t heads_, kvHeads_, headDim_;
  Mask mask_;
  Pass pass_;
  DType dtype_;
  std::vector<float> q_, k_, v_, dO_, o_, lse_, delta_, dq_, dk_, dv_;
  std::vector<Tile> tiles_;
  // For bf16: the same inputs, which the fp32 ones then equal, and the tiles on them.
  std::vector<Bf16> qBf16_, kBf16_, vBf16_, dOBf16_;
  std::vector<Bf16Tile> bf16Tiles_;
};

}  // namespace hsap::bench
