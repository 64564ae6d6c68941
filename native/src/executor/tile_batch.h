// Runs batches of tiles, unit by unit.
#pragma once

#include <cstdint>
#include <vector>

#include "hsap/scratch.h"
#include "lane.h"
#include "tile_units.h"

namespace hsap {

class TileBatch {
 public:
  TileBatch(const LaneContext& context, const Kernels& kernels, Scratch& scratch)
      : context_(context), kernels_(kernels), scratch_(scratch) {}

  // Runs the tiles of these attend ops.
  void run(const std::vector<std::int32_t>& rows);

 private:
  void runUnit(const TileUnits& plan, const TileUnit& unit);

  const LaneContext& context_;
  const Kernels& kernels_;
  Scratch& scratch_;
};

}  // namespace hsap
