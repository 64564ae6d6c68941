#include "tiles/tile_units.h"

#include <algorithm>
#include <cmath>

namespace hsap {

namespace {

// A unit packs its keys by itself: so many rows (queries x query heads of a group) make that cost little.
constexpr std::int64_t fewestRows = 384;
// Queries are cut in multiples of this, so that only the last unit has ragged blocks of rows.
constexpr std::int64_t queryStep = 12;
constexpr double wantedUnits = 100, smallestShare = 1.0 / 8;

// Backward kernels take keys in blocks of so many; a unit of other than a multiple of them ends with a smaller block.
std::int64_t keyStep(std::int32_t headDim) { return headDim <= 96 ? 256 : 192; }

std::int64_t roundUp(std::int64_t value, std::int64_t step) { return (value + step - 1) / step * step; }

class Planner {
 public:
  Planner(const Program& program, double unitWork) : program_(program), unitWork_(unitWork) {}

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
      addGrids(shape, tile);
      return;
    }
    for (std::int32_t head = 0; head < shape.heads; head = shape.groupEnd(head)) {
      TilePart part = tile;
      part.headBegin = head, part.headEnd = shape.groupEnd(head);
      const std::int64_t heads = part.headEnd - part.headBegin;
      const double workPerQuery = workOf(shape, part) / shape.queries;
      const std::int64_t fewest = roundUp((fewestRows + heads - 1) / heads, queryStep);
      const auto wanted = static_cast<std::int64_t>(std::min(unitWork_ / workPerQuery, 1e9));
      const std::int64_t queries = std::max(fewest, wanted / queryStep * queryStep);
      for (std::int64_t begin = 0; begin < shape.queries; begin += queries) {
        part.queryBegin = static_cast<std::int32_t>(begin);
        part.queryEnd = static_cast<std::int32_t>(std::min<std::int64_t>(shape.queries, begin + queries));
        addUnit(shape, part);
      }
    }
  }

  // Squares of a grid of queries and keys, along its diagonals: those of one diagonal have neither queries nor keys in common.
  void addGrids(const TileShape& shape, const TilePart& tile) {
    const std::int32_t groupHeads = std::min(shape.groups.size, shape.heads);
    const std::int64_t step = keyStep(shape.headDim);
    const auto wanted = static_cast<std::int64_t>(std::sqrt(unitWork_ / (double(shape.headDim) * groupHeads)));
    const std::int64_t keys = std::max(wanted / step, std::int64_t{1}) * step;
    const std::int64_t queries = std::max(keys, roundUp((fewestRows + groupHeads - 1) / groupHeads, queryStep));
    const std::int64_t rows = (shape.queries + queries - 1) / queries, columns = (shape.keys + keys - 1) / keys;
    for (std::int64_t diagonal = 0; diagonal < std::max(rows, columns); ++diagonal) {
      for (std::int32_t head = 0; head < shape.heads; head = shape.groupEnd(head)) {
        for (std::int64_t i = 0; i < std::min(rows, columns); ++i) {
          const std::int64_t row = rows >= columns ? (i + diagonal) % rows : i;
          const std::int64_t column = rows >= columns ? i : (i + diagonal) % columns;
          TilePart part = tile;
          part.headBegin = head, part.headEnd = shape.groupEnd(head);
          part.queryBegin = static_cast<std::int32_t>(row * queries);
          part.queryEnd = static_cast<std::int32_t>(std::min<std::int64_t>(shape.queries, (row + 1) * queries));
          part.keyBegin = static_cast<std::int32_t>(column * keys);
          part.keyEnd = static_cast<std::int32_t>(std::min<std::int64_t>(shape.keys, (column + 1) * keys));
          addUnit(shape, part);
        }
      }
    }
  }

  void addUnit(const TileShape& shape, const TilePart& part) {
    const double work = workOf(shape, part);
    if (work == 0) return;
    addPart(part, work);
    endUnit();
  }

  const Program& program_;
  const double unitWork_;
  double gathered_ = 0;
  TileUnits plan_;
};

}  // namespace

TileUnits planTileUnits(const Program& program, const std::vector<std::int32_t>& rows, double largestWork) {
  double total = 0;
  for (const std::int32_t row : rows) {
    const TileShape shape = shapeOfTile(program, row);
    total += workOf(shape, wholeTile(shape, row));
  }
  Planner planner(program, std::clamp(total / wantedUnits, largestWork * smallestShare, largestWork));
  for (const std::int32_t row : rows) planner.add(row);
  return planner.finish();
}

}  // namespace hsap
