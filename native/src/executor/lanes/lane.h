// What both lanes of a rank work with.
#pragma once

#include <stdexcept>

#include "hsap/executor.h"
#include "lanes/lane_plan.h"
#include "lanes/run_state.h"
#include "memory/rank_memory.h"
#include "threads/thread_team.h"

namespace hsap {

struct LaneContext {
  const Program& program;
  const RunOptions& options;
  const LanePlan& plan;
  const std::int32_t rank;
  RankMemory& memory;
  RunState& state;
  const RunTrace& trace;

  void setEmptyBefore(const std::vector<std::int32_t>& rows) const {
    for (const std::int32_t region : plan.initsBefore(rows)) memory.setEmpty(region);
  }

  // Called before an op runs: tests ask for a failure here.
  void failIfAsked(std::int32_t row) const {
    const auto& fault = options.fault;
    if (fault && fault->rank == rank && program.rank.opBegin[rank] + fault->op == row) throw std::runtime_error("injected fault");
  }

  void record(std::int32_t row, double beginUs, double endUs, double busyUs) const {
    trace.beginUs[row] = beginUs;
    trace.endUs[row] = endUs;
    trace.busyUs[row] = busyUs;
  }

  // The same for an op that runs in several pieces, one after another.
  void extend(std::int32_t row, double beginUs, double endUs, double busyUs) const {
    const bool first = trace.endUs[row] == 0;
    record(row, first ? beginUs : trace.beginUs[row], endUs, trace.busyUs[row] + busyUs);
  }
};

}  // namespace hsap
