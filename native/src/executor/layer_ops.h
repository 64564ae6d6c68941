// The ops of a transformer layer around attention, on blocks in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "hsap/layer.h"
#include "hsap/program.h"
#include "hsap/scratch.h"

namespace hsap {

// A block with its place in global coordinates.
struct LayerBlock {
  View view;
  Box box;
  std::int32_t width = 0;
  bool accumulates = true;  // otherwise the op sets it

  float* row(std::int64_t row, std::int64_t group) const { return view.data + group * view.headStride + row * view.tokenStride; }
  std::int64_t columns() const { return std::int64_t{box.heads()} * width; }
  Matrix matrix() const { return matrixOf(view, box.tokens(), box.heads(), width); }
};

// Runs one op; `checkpoint` is called after every few milliseconds of work and may throw.
void runLayerOp(OpKind kind, const LayerKernels& kernels, const AttentionProblem& problem, const std::vector<LayerBlock>& blocks,
                Scratch& scratch, const std::function<void()>& checkpoint);

}  // namespace hsap
