// One rank's arena, and where each of its regions lies: in the arena, or in the memory of whoever handed it over.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "hsap/executor.h"
#include "hsap/program.h"
#include "memory/arena.h"
#include "threads/thread_team.h"

namespace hsap {

class RankMemory {
 public:
  // Reserves the arena without touching it. `ownMemory` as given by regionsWithOwnMemory. Throws std::bad_alloc.
  RankMemory(const Program& program, std::int32_t rank, const std::vector<bool>& ownMemory);

  // The first element of an operand, with the strides of its region.
  BlockView view(std::int32_t operandRow) const;

  // Whether the region's contents neither change nor move until the run ends.
  bool isStable(std::int32_t region) const { return stable_[region - firstRegion_]; }
  // From now on the region lies where `view` points, in the memory of another rank.
  void alias(std::int32_t region, const BlockView& view);

  // Touches the memory that the run will write, so that page faults are not measured as if they were the schedule's. With
  // `alias`, what is handed over needs no memory here and is left out.
  void touch(bool alias) const;

  // For a region that accumulates.
  void setEmpty(std::int32_t region) const;
  // Fills the rank's rows of the inputs: q, k, v, dO by index, lse and delta from the saved forward pass. Calls `checkpoint`,
  // which may throw, every few thousand rows.
  void fillInputs(const RunOptions& options, ThreadTeam& team, const std::function<void()>& checkpoint) const;
  // Bytes of the arena that the system has given pages for so far: what was touched, in whole pages.
  std::size_t residentBytes() const { return arena_.residentBytes(); }
  // Copies the rank's rows of the outputs to their global places.
  void gatherOutputs(const RunOptions& options, const RunOutputs& outputs) const;

 private:
  void fillInput(std::int32_t region, const Box& box, const RunOptions& options) const;
  BlockView viewAt(std::int32_t region, std::int32_t token, std::int32_t head) const;
  template <typename Visit>
  void eachOwnedBox(std::uint8_t role, Visit visit) const;

  const Program& program_;
  const std::int32_t firstRegion_;
  const Arena arena_;
  std::vector<BlockView> views_;  // by region, at the region's first token and head
  std::vector<char> stable_;
};

}  // namespace hsap
