// Prepares one rank's memory, runs its computation ops in order, and hands out its results.
#pragma once

#include <functional>
#include <vector>

#include "lanes/lane.h"
#include "lanes/tile_batch.h"
#include "ops/unfused_ops.h"
#include "threads/thread_team.h"

namespace hsap {

class ComputationLane {
 public:
  // `team`: the rank's threads, of which the caller of `run` is the first.
  ComputationLane(const LaneContext& context, const Kernels& kernels, ThreadTeam& team);

  // Before the start: touches memory, empties accumulators, then fills inputs. `aliases`: what is handed over needs no memory.
  void prepare(bool aliases);
  void run();
  std::int32_t row() const { return row_; }

 private:
  void runOp(std::int32_t row);
  void merge(std::int32_t row);
  void reduce(std::int32_t row);
  void copy(std::int32_t row);
  void runUnfused(std::int32_t row);
  void runUnfusedHeads(std::int32_t row, HeadGroups groups, std::int32_t headBegin, std::int32_t headEnd, Scratch& scratch);
  void runLayer(std::int32_t row);

  // Calls body(first token, first head, tokens) for pieces of one head of a block of `heads` heads, on all threads of the team.
  template <typename Body>
  void forRows(const PlacedBlock& block, const Body& body);

  PlacedBlock block(std::int32_t operandRow) const;

  const LaneContext context_;
  const Kernels& kernels_;
  const DenseOps& dense_;
  ThreadTeam& team_;
  TileBatch tiles_;
  const std::function<void()> checkpoint_;
  std::int32_t row_ = -1;
};

}  // namespace hsap
