// The ops of a transformer layer around attention, on blocks in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "hsap/layer.h"
#include "hsap/program.h"
#include "hsap/scratch.h"
#include "ops/layer_block.h"

namespace hsap {

// The threads that share an op.
class LayerThreads {
 public:
  virtual ~LayerThreads() = default;
  virtual std::int32_t count() const = 0;
  // Calls body(piece, working memory of the thread) for each of `pieces`, in any order, on whichever thread comes first.
  virtual void forPieces(std::int64_t pieces, const std::function<void(std::int64_t piece, Scratch& scratch)>& body) = 0;
  // Called after every few milliseconds of work; may throw.
  virtual void checkpoint() = 0;
};

// Runs one op. Its bits depend neither on the number of threads nor on who computes which piece.
void runLayerOp(OpKind kind, const LayerKernels& kernels, const AttentionProblem& problem, const std::vector<LayerBlock>& blocks,
                LayerThreads& threads);

}  // namespace hsap
