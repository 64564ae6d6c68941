// Runs the groups of one rank, one after another.
#pragma once

#include "hsap/transport.h"
#include "lanes/lane.h"

namespace hsap {

class CommunicationLane {
 public:
  CommunicationLane(const LaneContext& context, Endpoint& endpoint) : context_(context), endpoint_(endpoint) {}

  // Has the endpoint make room for every group.
  void prepare();
  void run();
  // The op the lane is at, or -1 before the first.
  std::int32_t row() const { return row_; }

 private:
  void exchange(const GroupPlan& plan);
  void collect(const GroupPlan& plan);
  void keepAliases(const GroupPlan& plan);
  void recordGroup(const GroupPlan& plan, double beginUs, double busyUs) const;
  std::int64_t bytesOf(std::int32_t row) const;

  const LaneContext context_;
  Endpoint& endpoint_;
  // Outlives the run: after an abort another rank may still be copying from what it names.
  Group group_;
  std::int32_t row_ = -1;
};

}  // namespace hsap
