// Hands tiles to the kernels in pieces of bounded work, so that a run can be stopped between them.
#pragma once

#include <cstdint>
#include <vector>

#include "lane.h"

namespace hsap {

class TileBatch {
 public:
  TileBatch(const LaneContext& context, const Kernels& kernels, Scratch& scratch)
      : context_(context), kernels_(kernels), scratch_(scratch) {}

  // Runs the tiles of these attend ops, in order. Pieces depend on the tiles alone, so their bits do not depend on timing.
  void run(const std::vector<std::int32_t>& rows);

 private:
  Tile tileOf(std::int32_t row) const;
  void call(const Tile* tiles, std::size_t count);
  void runPiece();
  // A tile with more work than a piece may have: by kv heads, then by queries.
  void runLarge(std::int32_t row, const Tile& tile);
  void runQueries(const Tile& heads, double work);

  const LaneContext& context_;
  const Kernels& kernels_;
  Scratch& scratch_;
  std::vector<std::int32_t> rows_;
  std::vector<Tile> tiles_;
  std::vector<double> work_;
  double pieceWork_ = 0;
};

// Unmasked (query, key) pairs of one head.
std::int64_t unmaskedPairs(const Tile& tile);

}  // namespace hsap
