// Cuts a batch of tiles into units of work that threads may share, by rules that know nothing of threads: equal programs give
// equal units, and equal units in an order that keeps their dependencies give equal bits.
#pragma once

#include <cstdint>
#include <vector>

#include "tiles/tile_part.h"

namespace hsap {

// Some parts of tiles, computed by one thread, in order.
struct TileUnit {
  std::int32_t partBegin = 0, partEnd = 0;
  double work = 0;
};

// The units of one batch, in an order in which one thread may run them: tile after tile.
struct TileUnits {
  std::vector<TilePart> parts;
  std::vector<double> work;  // of each part
  std::vector<TileUnit> units;
};

// The units of the attend ops `rows`. A unit has at most about `largestWork` pairs x heads x headDim, and less, down to an eighth
// of that, if that makes a hundred of them: the fewer there are, the longer threads wait for the last one. Small tiles are
// gathered. Forward, a large tile is cut by kv head and queries; backward also by keys, in an order in which units that follow
// one another touch neither the same dq nor the same dk and dv.
TileUnits planTileUnits(const Program& program, const std::vector<std::int32_t>& rows, double largestWork);

// The same for one thread alone, which waits for nobody: units whose queries follow one another are joined, up to eight times the
// work, so that their keys are packed once. What writes the same rows keeps its order, and so the bits are those of the units.
TileUnits planJoinedUnits(const Program& program, const std::vector<std::int32_t>& rows, double largestWork);

}  // namespace hsap
