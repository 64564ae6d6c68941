#include "tiles/tile_units.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace hsap {

namespace {

// A unit packs its keys by itself: so many rows (queries x query heads of a group) make that cost little.
constexpr std::int64_t fewestRows = 384;
// Rows are cut in multiples of the blocks that kernels take them in, so that only the last unit has a ragged one, and so that
// units which are joined are computed block by block as they are apart: strips of at most twelve forward, blocks of 144 backward.
constexpr std::int64_t forwardRows = 12, backwardRows = 144;
constexpr double wantedUnits = 100, smallestShare = 1.0 / 8, joinedUnits = 8;

// Backward kernels take keys in blocks of so many; a unit of other than a multiple of them ends with a smaller block.
std::int64_t keyStep(std::int32_t headDim) { return headDim <= 96 ? 256 : 192; }

std::int64_t roundUp(std::int64_t value, std::int64_t step) { return (value + step - 1) / step * step; }

class Planner {
 public:
  // Units are joined up to joinedWork; 0 leaves them apart.
  Planner(const Program& program, double unitWork, double joinedWork)
      : program_(program), unitWork_(unitWork), joinedWork_(joinedWork) {}

  void add(std::int32_t row) {
    const TileShape shape = shapeOfTile(program_, row);
    const TilePart tile = wholeTile(shape, row);
    const double work = workOf(shape, tile);
    if (work > unitWork_) {
      endUnit();
      addLarge(shape, tile);
      return;
    }
    if (gathered_ + work > unitWork_) endUnit();
    addPart(tile, work);
  }

  TileUnits finish() {
    endUnit();
    return std::move(plan_);
  }

 private:
  void addPart(const TilePart& part, double work) {
    plan_.parts.push_back(part);
    plan_.work.push_back(work);
    gathered_ += work;
  }

  void endUnit() {
    const std::int32_t begin = plan_.units.empty() ? 0 : plan_.units.back().partEnd,
                       end = static_cast<std::int32_t>(plan_.parts.size());
    if (begin < end) plan_.units.push_back({begin, end, gathered_});
    gathered_ = 0;
  }

  void addLarge(const TileShape& shape, const TilePart& tile) {
    if (program_.problem.backward) {
      if (joinedWork_ > 0) {
        addColumns(shape, tile);
      } else {
        addDiagonals(shape, tile);
      }
      return;
    }
    for (std::int32_t head = 0; head < shape.heads; head = shape.groupEnd(head)) {
      TilePart part = tile;
      part.headBegin = head, part.headEnd = shape.groupEnd(head);
      const std::int64_t heads = part.headEnd - part.headBegin;
      const double workPerQuery = workOf(shape, part) / shape.queries;
      const std::int64_t fewest = roundUp((fewestRows + heads - 1) / heads, forwardRows);
      const auto wanted = static_cast<std::int64_t>(std::min(unitWork_ / workPerQuery, 1e9));
      const std::int64_t queries = std::max(fewest, wanted / forwardRows * forwardRows);
      addRows(shape, part, queries, 0, (shape.queries + queries - 1) / queries);
    }
  }

  // A grid over the tile's queries and keys: a unit is one of its squares, or joins some of a column.
  struct Grid {
    std::int64_t queries, keys, rows, columns;
  };

  Grid gridOf(const TileShape& shape) const {
    const std::int32_t groupHeads = std::min(shape.groups.size, shape.heads);
    const std::int64_t step = keyStep(shape.headDim);
    const auto wanted = static_cast<std::int64_t>(std::sqrt(unitWork_ / (double(shape.headDim) * groupHeads)));
    const std::int64_t keys = std::max(wanted / step, std::int64_t{1}) * step;
    // Whole blocks of rows, whichever kv head's.
    std::int64_t queryStep = 1;
    for (std::int32_t head = 0; head < shape.heads; head = shape.groupEnd(head)) {
      const std::int64_t heads = shape.groupEnd(head) - head;
      queryStep = std::lcm(queryStep, backwardRows / std::gcd(backwardRows, heads));
    }
    const std::int64_t queries = roundUp(std::max(keys, (fewestRows + groupHeads - 1) / groupHeads), queryStep);
    return {queries, keys, (shape.queries + queries - 1) / queries, (shape.keys + keys - 1) / keys};
  }

  // Along diagonals: the units of one have neither queries nor keys in common. A row's units have their keys descending, a
  // column's their queries ascending, each from the first diagonal on and then from the other end.
  void addDiagonals(const TileShape& shape, const TilePart& tile) {
    const Grid grid = gridOf(shape);
    for (std::int64_t diagonal = 0; diagonal < std::max(grid.rows, grid.columns); ++diagonal) {
      for (std::int32_t head = 0; head < shape.heads; head = shape.groupEnd(head)) {
        for (std::int64_t i = 0; i < std::min(grid.rows, grid.columns); ++i) {
          const bool tall = grid.rows >= grid.columns;
          const std::int64_t row = tall ? (i + diagonal) % grid.rows : i;
          const std::int64_t column = tall ? i : (i - diagonal + grid.columns) % grid.columns;
          addRows(shape, columnOf(shape, tile, head, grid, column), grid.queries, row, row + 1);
        }
      }
    }
  }

  // The same order in each row and each column, with columns as whole as that allows: of each the rows from the first diagonal
  // on, and when all have these, the rows before it.
  void addColumns(const TileShape& shape, const TilePart& tile) {
    const Grid grid = gridOf(shape);
    for (std::int32_t head = 0; head < shape.heads; head = shape.groupEnd(head)) {
      for (std::int64_t column = grid.columns - 1; column >= 0; --column)
        addRows(shape, columnOf(shape, tile, head, grid, column), grid.queries, column, grid.rows);
      for (std::int64_t column = grid.columns - 1; column > 0; --column)
        addRows(shape, columnOf(shape, tile, head, grid, column), grid.queries, 0, std::min(column, grid.rows));
    }
  }

  static TilePart columnOf(const TileShape& shape, TilePart part, std::int32_t head, const Grid& grid, std::int64_t column) {
    part.headBegin = head, part.headEnd = shape.groupEnd(head);
    part.keyBegin = static_cast<std::int32_t>(column * grid.keys);
    part.keyEnd = static_cast<std::int32_t>(std::min<std::int64_t>(shape.keys, (column + 1) * grid.keys));
    return part;
  }

  // `part` with the rows from rowBegin to rowEnd, of so many queries each, as units of one row or, joined, of several.
  void addRows(const TileShape& shape, TilePart part, std::int64_t queries, std::int64_t rowBegin, std::int64_t rowEnd) {
    const std::int64_t pairs = queries * (part.keyEnd - part.keyBegin) * (part.headEnd - part.headBegin);
    const auto fitting = static_cast<std::int64_t>(joinedWork_ / (static_cast<double>(pairs) * shape.headDim));
    const std::int64_t joined = std::max<std::int64_t>(1, fitting);
    for (std::int64_t row = rowBegin; row < rowEnd; row += joined) {
      const std::int64_t end = std::min(rowEnd, row + joined) * queries;
      part.queryBegin = static_cast<std::int32_t>(row * queries);
      part.queryEnd = static_cast<std::int32_t>(std::min<std::int64_t>(shape.queries, end));
      addUnit(shape, part);
    }
  }

  void addUnit(const TileShape& shape, const TilePart& part) {
    const double work = workOf(shape, part);
    if (work == 0) return;
    addPart(part, work);
    endUnit();
  }

  const Program& program_;
  const double unitWork_, joinedWork_;
  double gathered_ = 0;
  TileUnits plan_;
};

TileUnits plan(const Program& program, const std::vector<std::int32_t>& rows, double largestWork, double joinedWork) {
  double total = 0;
  for (const std::int32_t row : rows) {
    const TileShape shape = shapeOfTile(program, row);
    total += workOf(shape, wholeTile(shape, row));
  }
  Planner planner(program, std::clamp(total / wantedUnits, largestWork * smallestShare, largestWork), joinedWork);
  for (const std::int32_t row : rows) planner.add(row);
  return planner.finish();
}

}  // namespace

TileUnits planTileUnits(const Program& program, const std::vector<std::int32_t>& rows, double largestWork) {
  return plan(program, rows, largestWork, 0);
}

TileUnits planJoinedUnits(const Program& program, const std::vector<std::int32_t>& rows, double largestWork) {
  return plan(program, rows, largestWork, joinedUnits * largestWork);
}

}  // namespace hsap
