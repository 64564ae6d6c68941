// A piece of an attend op's tile: some of its queries, query heads and keys.
#pragma once

#include <cstdint>

#include "hsap/kernels.h"
#include "hsap/program.h"
#include "memory/rank_memory.h"
#include "program/head_groups.h"

namespace hsap {

struct TilePart {
  std::int32_t row = 0;  // of the op
  // Counted from the first query, query head and key of the op's tile.
  std::int32_t queryBegin = 0, queryEnd = 0, headBegin = 0, headEnd = 0, keyBegin = 0, keyEnd = 0;
};

// What is known of an attend op's tile without its memory.
struct TileShape {
  std::int32_t queries = 0, keys = 0, heads = 0, headDim = 0;
  HeadGroups groups;
  std::int64_t causalOffset = 0;
  Mask mask = Mask::full;

  std::int32_t groupEnd(std::int32_t head) const { return groups.groupEnd(head, heads); }
};

TileShape shapeOfTile(const Program& program, std::int32_t row);
TilePart wholeTile(const TileShape& shape, std::int32_t row);

// Unmasked (query, key) pairs of one head.
std::int64_t unmaskedPairs(const TileShape& shape, const TilePart& part);
// Unmasked pairs x heads x headDim: a quarter of the operations of a forward pass.
double workOf(const TileShape& shape, const TilePart& part);

// The part as the kernels take it. Its inputs are stored as Element.
template <class Element>
BasicTile<Element> tileOf(const Program& program, const RankMemory& memory, const TilePart& part);

}  // namespace hsap
