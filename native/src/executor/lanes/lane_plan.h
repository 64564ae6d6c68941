// What each lane of one rank does, in order: derived from the program alone, so that batches never depend on timing.
#pragma once

#include <cstdint>
#include <vector>

#include "hsap/program.h"
#include "hsap/transport.h"

namespace hsap {

// One computation op, or a batch of consecutive tiles between which nobody waits and no memory changes hands.
struct Step {
  std::vector<std::int32_t> rows;
  std::int32_t waitFor = 0;   // groups that must have ended
  std::int32_t finished = 0;  // computation ops of the rank that are done after this step
};

struct GroupPlan {
  std::vector<std::int32_t> rows;
  std::int32_t waitFor = 0;  // computation ops that must be done
  const Collective* collective = nullptr;
};

struct LanePlan {
  std::vector<Step> steps;
  std::vector<GroupPlan> groups;
  // Regions to set empty, with the op row before which that happens (ascending), or -1 for before the program.
  struct Init {
    std::int32_t row, region;
  };
  std::vector<Init> inits;

  // The regions to set empty before one of `rows` runs.
  std::vector<std::int32_t> initsBefore(const std::vector<std::int32_t>& rows) const;
};

// For each region of the program whether no other region ever shares its memory.
std::vector<bool> regionsWithOwnMemory(const Program& program);

// `ownMemory` as given by regionsWithOwnMemory.
LanePlan planLanes(const Program& program, std::int32_t rank, const std::vector<bool>& ownMemory);

}  // namespace hsap
