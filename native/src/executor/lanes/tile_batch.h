// Runs batches of tiles, unit by unit, on the threads of a rank.
#pragma once

#include <cstdint>
#include <vector>

#include "hsap/scratch.h"
#include "lanes/lane.h"
#include "tiles/unit_queue.h"

namespace hsap {

class TileBatch {
 public:
  TileBatch(const LaneContext& context, const Kernels& kernels, ThreadTeam& team)
      : context_(context), kernels_(kernels), team_(team) {}

  // Before the start: cuts all batches of the rank into units.
  void prepare();
  // Runs the tiles of the step with this index in the rank's plan.
  void run(std::size_t step);

 private:
  struct Batch {
    TileUnits plan;
    UnitDependencies dependencies;  // if several threads share it
  };

  void runInOrder(const TileUnits& plan);
  void runShared(const Step& step, const Batch& batch);
  void callKernels(const TilePart* begin, const TilePart* end, Scratch& scratch);

  const LaneContext& context_;
  const Kernels& kernels_;
  ThreadTeam& team_;
  std::vector<Batch> batches_;  // by step; empty for other ops
};

}  // namespace hsap
