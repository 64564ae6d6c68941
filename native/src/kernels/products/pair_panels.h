// Panels of bf16 pairs: as panels.h, but each 32-bit element holds two neighbours of the dimension that a product sums over. An
// odd last one is paired with zero.
#pragma once

#include <cstddef>

#include "hsap/bf16.h"
#include "products/panels.h"

namespace hsap {

constexpr int pairs(int count) { return (count + 1) / 2; }

// Row `row` of a left factor that is summed along its columns: `columns` bf16 become pairs(columns) elements.
template <class Simd>
[[gnu::always_inline]] inline void packPairRow(const Bf16* from, int columns, float* panels, int row, int rows) {
  constexpr int width = Simd::width;
  float* to = panels + std::ptrdiff_t{row} * panelWidth<Simd>;
  for (int c = 0; c < columns; c += 4 * width, to += std::ptrdiff_t{rows} * panelWidth<Simd>) {
    Simd::store(to, Simd::loadPairs(from + c, columns - c));
    Simd::store(to + width,
                columns - c > 2 * width ? Simd::loadPairs(from + c + 2 * width, columns - c - 2 * width) : Simd::zero());
  }
}

// The transpose of `rows` rows that are summed along their columns: panels of pairs(columns) rows and `rows` columns.
template <class Simd>
void packPairsTransposed(const Bf16* from, std::ptrdiff_t rowStride, int rows, int columns, float* panels) {
  constexpr int width = Simd::width;
  for (int r = 0; r < rows; r += width) {
    float* half = panels + std::ptrdiff_t{r / panelWidth<Simd>} * pairs(columns) * panelWidth<Simd> + r % panelWidth<Simd>;
    for (int c = 0; c < columns; c += 2 * width) {
      typename Simd::F x[width];
      for (int i = 0; i < width; ++i)
        x[i] = r + i < rows ? Simd::loadPairs(from + (r + i) * rowStride + c, columns - c) : Simd::zero();
      Simd::transpose(x);
      for (int i = 0; i < width && c / 2 + i < pairs(columns); ++i)
        Simd::store(half + std::ptrdiff_t{c / 2 + i} * panelWidth<Simd>, x[i]);
    }
  }
}

// `rows` rows that are summed along the rows: panels of pairs(rows) rows and `columns` columns.
template <class Simd>
void packPairsOfRows(const Bf16* from, std::ptrdiff_t rowStride, int rows, int columns, float* panels) {
  constexpr int width = Simd::width;
  for (int pair = 0; pair < pairs(rows); ++pair) {
    const Bf16* source = from + 2 * pair * rowStride;
    float* to = panels + std::ptrdiff_t{pair} * panelWidth<Simd>;
    for (int c = 0; c < columns; c += panelWidth<Simd>, to += std::ptrdiff_t{pairs(rows)} * panelWidth<Simd>) {
      const typename Simd::F a = Simd::loadPairs(source + c, columns - c);
      const typename Simd::F b = 2 * pair + 1 < rows ? Simd::loadPairs(source + rowStride + c, columns - c) : Simd::zero();
      Simd::store(to, Simd::interleave(a, b, false));
      Simd::store(to + width, Simd::interleave(a, b, true));
    }
  }
}

}  // namespace hsap
