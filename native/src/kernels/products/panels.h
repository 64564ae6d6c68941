// Panels: the packed form in which blocks of q, k, v and dO are read by the register tiles.
//
// A matrix of `rows` x `columns` is cut into panels of Simd::width * 2 columns. A panel is stored row after row without gaps, and
// panels follow each other: element (r, c) is panel[c / panelWidth][r][c % panelWidth]. Columns beyond the last are zero.
// Sources may be fp32 or bf16, panels are fp32. The same panels serve as left factor (a value per row is broadcast) and as right
// factor (a row of it is two vectors).
#pragma once

#include <cstddef>

#include "hsap/kernels.h"

namespace hsap {

template <class Simd>
constexpr int panelWidth = Simd::width * 2;

template <class Simd>
constexpr int panelCount(int columns) {
  return (columns + panelWidth<Simd> - 1) / panelWidth<Simd>;
}

// Floats that a matrix of `rows` rows takes in panels.
template <class Simd>
constexpr std::ptrdiff_t panelFloats(int rows, int columns) {
  return std::ptrdiff_t{panelCount<Simd>(columns)} * rows * panelWidth<Simd>;
}

// Copies one row of `columns` floats to row `row` of panels with `rows` rows.
template <class Simd, class Element>
[[gnu::always_inline]] inline void packRow(const Element* from, int columns, float* panels, int row, int rows) {
  constexpr int width = Simd::width;
  float* to = panels + std::ptrdiff_t{row} * panelWidth<Simd>;
  const std::ptrdiff_t panelStride = std::ptrdiff_t{rows} * panelWidth<Simd>;
  int c = 0;
  for (; c + panelWidth<Simd> <= columns; c += panelWidth<Simd>, to += panelStride) {
    Simd::store(to, Simd::load(from + c));
    Simd::store(to + width, Simd::load(from + c + width));
  }
  if (c < columns) {
    Simd::store(to, Simd::loadPartial(from + c, columns - c));
    Simd::store(to + width, columns - c > width ? Simd::loadPartial(from + c + width, columns - c - width) : Simd::zero());
  }
}

// Packs `rows` rows that lie rowStride floats apart.
template <class Simd, class Element>
void packRows(const Element* from, std::ptrdiff_t rowStride, int rows, int columns, float* panels) {
  for (int r = 0; r < rows; ++r) packRow<Simd>(from + r * rowStride, columns, panels, r, rows);
}

// Packs the transpose, times `factor`: element (c, r) of the panels is from[r * rowStride + c] * factor. The panels have
// `columns` rows and `rows` columns. Blocks of width x width are transposed in registers.
template <class Simd, class Element>
void packTransposed(const Element* from, std::ptrdiff_t rowStride, int rows, int columns, float factor, float* panels) {
  using F = typename Simd::F;
  constexpr int width = Simd::width;
  const F factors = Simd::set1(factor);
  for (int r = 0; r < rows; r += width) {
    float* half = panels + std::ptrdiff_t{r / panelWidth<Simd>} * columns * panelWidth<Simd> + r % panelWidth<Simd>;
    const int blockRows = rows - r < width ? rows - r : width;
    for (int c = 0; c < columns; c += width) {
      const int blockColumns = columns - c < width ? columns - c : width;
      F x[width];
      const Element* source = from + r * rowStride + c;
      if (blockRows == width && blockColumns == width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) x[i] = Simd::mul(Simd::load(source + i * rowStride), factors);
      } else {
        for (int i = 0; i < width; ++i) {
          x[i] = i < blockRows ? Simd::mul(Simd::loadPartial(source + i * rowStride, blockColumns), factors) : Simd::zero();
        }
      }
      Simd::transpose(x);
      float* target = half + std::ptrdiff_t{c} * panelWidth<Simd>;
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) {
        if (i < blockColumns) Simd::store(target + i * panelWidth<Simd>, x[i]);
      }
    }
  }
}

// Writes `value` to the columns of a panel that a row does not see: row r sees the columns below visible[r], and the panel's
// first column is `firstColumn`. Kept apart from the register tiles, whose accumulators must not be indexed by anything but
// constants.
template <class Simd>
[[gnu::noinline]] void maskRows(float* panel, int rows, int vectors, const int* visible, int firstColumn, float value) {
  constexpr int width = Simd::width;
  for (int r = 0; r < rows; ++r, panel += panelWidth<Simd>) {
    for (int n = 0; n < vectors; ++n) {
      float* part = panel + n * width;
      Simd::store(part, Simd::selectBelow(visible[r] - firstColumn - n * width, Simd::load(part), Simd::set1(value)));
    }
  }
}

}  // namespace hsap
