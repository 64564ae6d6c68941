// Prepares one rank's memory, runs its computation ops in order, and hands out its results.
#pragma once

#include <functional>
#include <vector>

#include "hsap/scratch.h"
#include "lane.h"
#include "tile_batch.h"
#include "unfused_ops.h"

namespace hsap {

class ComputationLane {
 public:
  ComputationLane(const LaneContext& context, const Kernels& kernels);

  // Before the start: touches memory, empties accumulators, then fills inputs.
  void prepare();
  void run();
  std::int32_t row() const { return row_; }

 private:
  void runOp(std::int32_t row);
  void merge(std::int32_t row);
  void reduce(std::int32_t row);
  void copy(std::int32_t row);
  void runUnfused(std::int32_t row);
  void runLayer(std::int32_t row);

  PlacedBlock block(std::int32_t operandRow) const;
  HeadGroups groupsOf(std::int32_t qOperand, std::int32_t kOperand) const;

  const LaneContext context_;
  const Kernels& kernels_;
  const DenseOps& dense_;
  Scratch scratch_;
  TileBatch tiles_;
  const std::function<void()> checkpoint_;
  std::int32_t row_ = -1;
};

}  // namespace hsap
