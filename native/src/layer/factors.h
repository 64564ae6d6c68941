// How blocks of the two factors of a product become panels for the register tiles: as fp32, as fp32 rounded to bf16, or as pairs
// of bf16.
//
// Element (r, c) of a block goes to panel[c / panelWidth][r][c % panelWidth]; columns beyond the last are zero or not used. The
// columns of a left factor and the rows of a right one are what is summed over, of which each place of a panel has one, or two
// neighbours where factors are pairs.
#pragma once

#include <cstdint>

#include "bf16_rows.h"
#include "hsap/layer.h"
#include "kernels/products/pair_panels.h"
#include "kernels/products/panels.h"
#include "kernels/vectors/least.h"

namespace hsap {

namespace {  // Each instruction set's file gets copies compiled with its own flags.

// How many elements from i on lie one after another in steps of the axis' stride.
std::int64_t runLength(const Axis& axis, std::int64_t i, std::int64_t atMost) {
  return least(atMost, axis.group - (axis.begin + i) % axis.group);
}

// Packs rows whose columns lie side by side.
template <class Simd>
void packByRows(const Matrix& m, std::int64_t row, int rows, std::int64_t column, int columns, float* panels) {
  constexpr int stride = panelWidth<Simd>;
  for (int r = 0; r < rows; ++r) {
    const float* from = reinterpret_cast<const float*>(m.data) + m.rows.offset(row + r);
    float* to = panels + r * stride;
    for (int c = 0; c < columns; c += stride, to += std::ptrdiff_t{rows} * stride) {
      const int width = least(stride, columns - c);
      if (width == stride && runLength(m.columns, column + c, stride) == stride) {
        const float* source = from + m.columns.offset(column + c);
        Simd::store(to, Simd::load(source));
        Simd::store(to + Simd::width, Simd::load(source + Simd::width));
        continue;
      }
      for (int i = 0; i < width; ++i) to[i] = from[m.columns.offset(column + c + i)];
      for (int i = width; i < stride; ++i) to[i] = 0;
    }
  }
}

// Packs rows that lie side by side, so that columns have the long strides.
template <class Simd>
void packByColumns(const Matrix& m, std::int64_t row, int rows, std::int64_t column, int columns, float* panels) {
  constexpr int stride = panelWidth<Simd>, width = Simd::width;
  for (int c = 0; c < columns; c += stride, panels += std::ptrdiff_t{rows} * stride) {
    for (int half = 0; half < stride; half += width) {
      const int known = columns - c - half < 0 ? 0 : least(columns - c - half, width);
      for (int r = 0; r < rows;) {
        const bool whole = rows - r >= width && runLength(m.rows, row + r, width) == width;
        float* to = panels + r * stride + half;
        if (whole && known == width) {
          typename Simd::F x[width];
          for (int i = 0; i < width; ++i) x[i] = Simd::load(m.at<const float>(row + r, column + c + half + i));
          Simd::transpose(x);
          for (int i = 0; i < width; ++i) Simd::store(to + i * stride, x[i]);
          r += width;
          continue;
        }
        const int step = static_cast<int>(runLength(m.rows, row + r, least(width, rows - r)));
        for (int i = 0; i < width; ++i) {
          const float* source = i < known ? m.at<const float>(row + r, column + c + half + i) : nullptr;
          for (int k = 0; k < step; ++k) to[k * stride + i] = source == nullptr ? 0 : source[k * m.rows.stride];
        }
        r += step;
      }
    }
  }
}

template <class Simd>
void packBlock(const Matrix& m, std::int64_t row, int rows, std::int64_t column, int columns, float* panels) {
  if (m.columns.stride == 1) return packByRows<Simd>(m, row, rows, column, columns, panels);
  packByColumns<Simd>(m, row, rows, column, columns, panels);
}

// Columns of a block that are converted at a time, whole panels of every instruction set, and the elements of the room for that.
constexpr int convertedColumns = 128;

// A copy of a matrix in `to`, without groups; the axis that has stride 1 keeps it.
template <class Element>
Matrix converted(const Matrix& m, Element* to) {
  const bool byRows = m.columns.stride == 1;
  const Axis &lines = byRows ? m.rows : m.columns, &along = byRows ? m.columns : m.rows;
  for (std::int64_t i = 0; i < lines.count; ++i) {
    for (std::int64_t j = 0; j < along.count;) {
      const std::int64_t run = runLength(along, j, along.count - j), from = lines.offset(i) + along.offset(j);
      Element* target = to + i * along.count + j;
      if (m.type == ElementType::fp32) {
        convert(reinterpret_cast<const float*>(m.data) + from, target, run);
      } else {
        convert(reinterpret_cast<const Bf16*>(m.data) + from, target, run);
      }
      j += run;
    }
  }
  const Axis apart{lines.count, lines.count, along.count, 0}, near{along.count, along.count, 1, 0};
  return {reinterpret_cast<std::byte*>(to), sizeof(Element) == 2 ? ElementType::bf16 : ElementType::fp32, byRows ? apart : near,
          byRows ? near : apart};
}

// Calls body(c, part) for a block's columns from c on, copied to `room`.
template <class Element, class Body>
void forConvertedColumns(const Matrix& m, void* room, Body body) {
  for (std::int64_t c = 0; c < m.columns.count; c += convertedColumns) {
    const Matrix part = m.someColumns(c, least<std::int64_t>(convertedColumns, m.columns.count - c));
    body(c, converted(part, static_cast<Element*>(room)));
  }
}

// fp32 factors.
template <class SimdOfTiles>
struct PlainFactors {
  using Simd = SimdOfTiles;
  static constexpr int packed = 1;

  static void packLeft(const Matrix& a, float* panels, void*) {
    packBlock<Simd>(a, 0, static_cast<int>(a.rows.count), 0, static_cast<int>(a.columns.count), panels);
  }
  static void packRight(const Matrix& b, float* panels, void* room) { packLeft(b, panels, room); }
};

// bf16 factors, and fp32 ones rounded to bf16, as fp32: products of bf16 numbers are exact in fp32.
template <class SimdOfTiles>
struct WidenedFactors {
  using Simd = SimdOfTiles;
  static constexpr int packed = 1;

  static void packLeft(const Matrix& a, float* panels, void* room) {
    forConvertedColumns<float>(a, room, [&](std::int64_t c, const Matrix& part) {
      PlainFactors<Simd>::packLeft(part, panels + c * a.rows.count, nullptr);
    });
  }
  static void packRight(const Matrix& b, float* panels, void* room) { packLeft(b, panels, room); }
};

// The same as pairs, for dot products of pairs.
template <class SimdOfTiles>
struct PairFactors {
  using Simd = SimdOfTiles;
  static constexpr int packed = 2;

  static void packLeft(const Matrix& a, float* panels, void* room) {
    const int rows = static_cast<int>(a.rows.count);
    forConvertedColumns<Bf16>(a, room, [&](std::int64_t c, const Matrix& part) {
      const int columns = static_cast<int>(part.columns.count);
      float* to = panels + c / 2 * rows;
      if (part.columns.stride == 1) {
        for (int r = 0; r < rows; ++r) packPairRow<Simd>(part.at<const Bf16>(r, 0), columns, to, r, rows);
      } else {
        packPairsOfColumns(part, rows, columns, to);
      }
    });
  }

  static void packRight(const Matrix& b, float* panels, void* room) {
    const int rows = static_cast<int>(b.rows.count);
    forConvertedColumns<Bf16>(b, room, [&](std::int64_t c, const Matrix& part) {
      const int columns = static_cast<int>(part.columns.count);
      float* to = panels + c * pairs(rows);
      if (part.columns.stride == 1) {
        packPairsOfRows<Simd>(part.at<const Bf16>(0, 0), part.rows.stride, rows, columns, to);
      } else {
        packPairsTransposed<Simd>(part.at<const Bf16>(0, 0), part.columns.stride, columns, rows, to);
      }
    });
  }

 private:
  // A left factor whose rows lie side by side: a column's and the next one's elements of a row become a pair.
  static void packPairsOfColumns(const Matrix& m, int rows, int columns, float* panels) {
    constexpr int stride = panelWidth<Simd>, width = Simd::width;
    for (int pair = 0; pair < pairs(columns); pair += width) {
      float* to = panels + std::ptrdiff_t{pair / stride} * rows * stride + pair % stride;
      for (int r = 0; r < rows; r += width) {
        typename Simd::F x[width];
        for (int i = 0; i < width; ++i) {
          const auto column = [&](int c) {
            return c < columns ? Simd::loadPairs(m.at<const Bf16>(r, c), least(width, rows - r)) : Simd::zero();
          };
          x[i] = Simd::interleave(column(2 * (pair + i)), column(2 * (pair + i) + 1), false);
        }
        Simd::transpose(x);
        for (int i = 0; i < width && r + i < rows; ++i) Simd::store(to + std::ptrdiff_t{r + i} * stride, x[i]);
      }
    }
  }
};

}  // namespace

}  // namespace hsap
