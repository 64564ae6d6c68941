#include "tiles/tile_part.h"

#include <algorithm>

namespace hsap {

TileShape shapeOfTile(const Program& program, std::int32_t row) {
  const std::int32_t first = program.op.operandBegin[row];
  const Box q = program.operandBox(first), k = program.operandBox(first + 1);
  TileShape shape;
  shape.queries = q.tokens(), shape.keys = k.tokens(), shape.heads = q.heads();
  shape.headDim = program.widthOf(first);
  shape.groups = headGroupsOf(program, first, first + 1);
  shape.causalOffset = std::int64_t{q.tokenBegin} - k.tokenBegin;
  shape.mask = static_cast<Mask>(program.op.attribute[row]);
  return shape;
}

TilePart wholeTile(const TileShape& shape, std::int32_t row) { return {row, 0, shape.queries, 0, shape.heads, 0, shape.keys}; }

std::int64_t unmaskedPairs(const TileShape& shape, const TilePart& part) {
  const std::int64_t queries = part.queryEnd - part.queryBegin, keys = part.keyEnd - part.keyBegin;
  if (shape.mask == Mask::full) return queries * keys;
  const std::int64_t offset = shape.causalOffset + part.queryBegin - part.keyBegin;
  // Query i sees min(i + offset + 1, keys) keys: none, then a ramp, then all.
  const std::int64_t rampBegin = std::clamp<std::int64_t>(-offset, 0, queries);
  const std::int64_t rampEnd = std::clamp<std::int64_t>(keys - offset - 1, rampBegin, queries);
  const std::int64_t ramp = (rampEnd - rampBegin) * (rampBegin + offset + 1 + rampEnd + offset) / 2;
  return ramp + (queries - rampEnd) * keys;
}

double workOf(const TileShape& shape, const TilePart& part) {
  return static_cast<double>(unmaskedPairs(shape, part)) * (part.headEnd - part.headBegin) * shape.headDim;
}

template <class Element>
BasicTile<Element> tileOf(const Program& program, const RankMemory& memory, const TilePart& part) {
  const TileShape shape = shapeOfTile(program, part.row);
  const std::int32_t first = program.op.operandBegin[part.row], kvHead = shape.groups.kvHead(part.headBegin);
  const auto ofQueries = [&](std::int32_t i) { return memory.view(first + i).at(part.queryBegin, part.headBegin); };
  const auto ofKeys = [&](std::int32_t i) { return memory.view(first + i).at(part.keyBegin, kvHead); };
  BasicTile<Element> tile;
  tile.q = ofQueries(0).template as<Element>();
  tile.k = ofKeys(1).template as<Element>(), tile.v = ofKeys(2).template as<Element>();
  if (program.problem.backward) {
    tile.dO = ofQueries(3).template as<Element>();
    tile.lse = ofQueries(4).template as<float>(), tile.delta = ofQueries(5).template as<float>();
    tile.dq = ofQueries(6).template as<float>();
    tile.dk = ofKeys(7).template as<float>(), tile.dv = ofKeys(8).template as<float>();
  } else {
    tile.o = ofQueries(3).template as<float>(), tile.lse = ofQueries(4).template as<float>();
  }
  tile.qTokens = part.queryEnd - part.queryBegin, tile.kTokens = part.keyEnd - part.keyBegin;
  tile.heads = part.headEnd - part.headBegin, tile.headDim = shape.headDim;
  const HeadGroups groups = shape.groups.from(part.headBegin);
  tile.groupSize = groups.size, tile.groupOffset = groups.offset;
  tile.causalOffset = shape.causalOffset + part.queryBegin - part.keyBegin;
  tile.mask = shape.mask;
  return tile;
}

template BasicTile<float> tileOf<float>(const Program&, const RankMemory&, const TilePart&);
template BasicTile<Bf16> tileOf<Bf16>(const Program&, const RankMemory&, const TilePart&);

}  // namespace hsap
