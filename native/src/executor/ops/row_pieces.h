// How ops that go over rows are cut into pieces.
#pragma once

#include <algorithm>
#include <cstdint>

namespace hsap {

// Rows of a piece, if each has so many elements: work of some hundred microseconds, so that threads are worth waking.
inline std::int64_t rowsOfPiece(std::int64_t elements) {
  constexpr std::int64_t pieceElements = std::int64_t{1} << 17;
  return std::max<std::int64_t>(1, pieceElements / elements);
}

}  // namespace hsap
