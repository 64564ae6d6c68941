// The rows of one kv head: every query row of a tile that reads it.
//
// All query heads of a group read the same keys, so their rows are taken together, token by token: row r is token r / heads, head
// firstHead + r % heads. Neighbouring rows then see nearly the same keys, and short documents still fill whole register tiles.
#pragma once

#include <cstdint>

#include "hsap/kernels.h"
#include "vectors/least.h"

namespace hsap {

namespace {  // Each instruction set's file gets copies compiled with its own flags.

template <class Element>
struct GroupRows {
  const BasicTile<Element>& tile;
  int kvHead, firstHead, heads;

  // Calls body(group) for each kv head that the tile reads.
  template <class Body>
  static void forEach(const BasicTile<Element>& tile, const Body& body) {
    for (int head = 0; head < tile.heads;) {
      const int kvHead = (head + tile.groupOffset) / tile.groupSize;
      const int end = least((kvHead + 1) * tile.groupSize - tile.groupOffset, tile.heads);
      body(GroupRows<Element>{tile, kvHead, head, end - head});
      head = end;
    }
  }

  std::int64_t count() const { return std::int64_t{tile.qTokens} * heads; }

  // How many keys, counted from the tile's first, row `row` sees: 0 .. kTokens.
  int visibleKeys(std::int64_t row) const { return visibleKeysOfToken(row / heads); }

  int visibleKeysOfToken(std::int64_t token) const {
    if (tile.mask == Mask::full) return tile.kTokens;
    const std::int64_t visible = token + tile.causalOffset + 1;
    return static_cast<int>(visible < 0 ? 0 : least<std::int64_t>(visible, tile.kTokens));
  }

  // The first row that sees key `key`; count() or more if none does.
  std::int64_t firstRowThatSees(int key) const {
    if (tile.mask == Mask::full) return 0;
    return most<std::int64_t>(key - tile.causalOffset, 0) * heads;
  }

  // Calls body(i, token, head) for the rows first .. first + rows.
  template <class Body>
  void forRows(std::int64_t first, int rows, const Body& body) const {
    std::int64_t token = first / heads;
    int head = static_cast<int>(first % heads);
    for (int i = 0; i < rows; ++i) {
      body(i, token, firstHead + head);
      if (++head == heads) head = 0, ++token;
    }
  }
};

template <class Element>
inline Element* at(const BasicView<Element>& view, std::int64_t token, std::int64_t head) {
  return view.data + head * view.headStride + token * view.tokenStride;
}

constexpr float log2e = 0x1.715476p0f, log2eRest = 0x1.4ae0cp-26f;  // log2(e) = log2e + log2eRest to 2^-50
constexpr float ln2 = 0x1.62e430p-1f, ln2Rest = -0x1.05c610p-29f;   // ln(2) = ln2 + ln2Rest to 2^-53

}  // namespace

}  // namespace hsap
