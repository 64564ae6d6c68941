// c += a b for matrices of any strides, on the register tiles of the attention kernels.
//
// b is cut into blocks of `blockDepth` x `blockColumns`, packed into panels that stay in the second-level cache while all rows of
// a pass over them, `blockRows` at a time. Sums over one block's depth are made in registers and then added to c, block after
// block: the order depends on the shapes alone.
#pragma once

#include <cstdint>

#include "hsap/layer.h"
#include "hsap/scratch.h"
#include "kernels/panels.h"
#include "kernels/register_tile.h"

namespace hsap {

namespace {  // Each instruction set's file gets copies compiled with its own flags.

template <class T>
constexpr T lesser(T a, T b) {
  return b < a ? b : a;
}

constexpr std::int64_t blockDepth = 256, blockColumns = 768;

// How many elements from i on lie one after another in steps of the axis' stride.
std::int64_t runLength(const Axis& axis, std::int64_t i, std::int64_t atMost) {
  return lesser(atMost, axis.group - (axis.begin + i) % axis.group);
}

// Packs rows whose columns lie side by side.
template <class Simd>
void packByRows(const Matrix& m, std::int64_t row, int rows, std::int64_t column, int columns, float* panels) {
  constexpr int stride = panelWidth<Simd>;
  for (int r = 0; r < rows; ++r) {
    const float* from = m.data + m.rows.offset(row + r);
    float* to = panels + r * stride;
    for (int c = 0; c < columns; c += stride, to += std::ptrdiff_t{rows} * stride) {
      const int width = lesser(stride, columns - c);
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
      const int known = columns - c - half < 0 ? 0 : lesser(columns - c - half, width);
      for (int r = 0; r < rows;) {
        const bool whole = rows - r >= width && runLength(m.rows, row + r, width) == width;
        float* to = panels + r * stride + half;
        if (whole && known == width) {
          typename Simd::F x[width];
          for (int i = 0; i < width; ++i)
            x[i] = Simd::load(m.data + m.rows.offset(row + r) + m.columns.offset(column + c + half + i));
          Simd::transpose(x);
          for (int i = 0; i < width; ++i) Simd::store(to + i * stride, x[i]);
          r += width;
          continue;
        }
        const int step = static_cast<int>(runLength(m.rows, row + r, lesser(width, rows - r)));
        const float* from = m.data + m.rows.offset(row + r);
        for (int i = 0; i < width; ++i) {
          const float* source = i < known ? from + m.columns.offset(column + c + half + i) : nullptr;
          for (int k = 0; k < step; ++k) to[k * stride + i] = source == nullptr ? 0 : source[k * m.rows.stride];
        }
        r += step;
      }
    }
  }
}

// Element (r, c) of the block goes to panel[c / panelWidth][r][c % panelWidth]; columns beyond the last are zero.
template <class Simd>
void packBlock(const Matrix& m, std::int64_t row, int rows, std::int64_t column, int columns, float* panels) {
  if (m.columns.stride == 1) return packByRows<Simd>(m, row, rows, column, columns, panels);
  packByColumns<Simd>(m, row, rows, column, columns, panels);
}

// One register tile: `rows` rows of a against one panel of b.
template <class Simd, int rows>
[[gnu::noinline]] void multiplyTile(const Matrix& c, std::int64_t row, std::int64_t column, int columns, const float* a,
                                    std::ptrdiff_t aPanelStride, const float* b, int depth) {
  constexpr int stride = panelWidth<Simd>, width = Simd::width;
  RegisterTile<Simd, rows, 2> tile;
  const bool whole = columns == stride && runLength(c.columns, column, stride) == stride;
  float* to[rows];
  if (whole) {
    // What the sums are added to is on its way while they are made.
    for (int r = 0; r < rows; ++r) {
      to[r] = c.data + c.rows.offset(row + r) + c.columns.offset(column);
      __builtin_prefetch(to[r], 1);
      __builtin_prefetch(to[r] + Simd::width, 1);
    }
  }
  tile.clear();
  tile.addRows(a, aPanelStride, b, depth);
  if (whole) {
    tile.forEach([&](int r, int n, typename Simd::F sum) __attribute__((always_inline)) {
      float* at = to[r] + n * width;
      Simd::store(at, Simd::add(Simd::load(at), sum));
    });
    return;
  }
  float sums[rows * stride];
  tile.forEach([&](int r, int n, typename Simd::F sum)
                   __attribute__((always_inline)) { Simd::store(sums + r * stride + n * width, sum); });
  for (int r = 0; r < rows; ++r) {
    for (int i = 0; i < columns; ++i) c.data[c.rows.offset(row + r) + c.columns.offset(column + i)] += sums[r * stride + i];
  }
}

template <class Simd>
void multiplyPanels(const Matrix& c, std::int64_t row, int rows, std::int64_t column, int columns, const float* a, const float* b,
                    int depth) {
  constexpr int stride = panelWidth<Simd>;
  const std::ptrdiff_t aPanelStride = std::ptrdiff_t{rows} * stride;
  for (int j = 0; j < columns; j += stride) {
    const float* panel = b + std::ptrdiff_t{j / stride} * depth * stride;
    for (int i = 0; i < rows; i += Simd::tileRows) {
      withRows<Simd::tileRows>(
          lesser(Simd::tileRows, rows - i), [&]<int count>() __attribute__((always_inline)) {
            multiplyTile<Simd, count>(c, row + i, column + j, lesser(stride, columns - j), a + i * stride, aPanelStride, panel,
                                      depth);
          });
    }
  }
}

template <class Simd>
void multiplyAdd(const Matrix& c, const Matrix& a, const Matrix& b, Scratch& scratch, const Checkpoint& checkpoint) {
  constexpr int stride = panelWidth<Simd>;
  constexpr std::int64_t blockRows = Simd::tileRows * 16;
  const std::int64_t depth = a.columns.count, columns = c.columns.count, rows = c.rows.count;
  const std::int64_t deepest = (lesser(blockDepth, depth) + stride - 1) / stride * stride;
  const std::int64_t widest = (lesser(blockColumns, columns) + stride - 1) / stride * stride;
  auto* panelsB = static_cast<float*>(scratch.reserve((widest * deepest + blockRows * deepest) * sizeof(float)));
  float* panelsA = panelsB + widest * deepest;
  for (std::int64_t j = 0; j < columns; j += blockColumns) {
    const int width = static_cast<int>(lesser(blockColumns, columns - j));
    for (std::int64_t l = 0; l < depth; l += blockDepth) {
      const int inner = static_cast<int>(lesser(blockDepth, depth - l));
      packBlock<Simd>(b, l, inner, j, width, panelsB);
      for (std::int64_t i = 0; i < rows; i += blockRows) {
        const int height = static_cast<int>(lesser(blockRows, rows - i));
        packBlock<Simd>(a, i, height, l, inner, panelsA);
        multiplyPanels<Simd>(c, i, height, j, width, panelsA, panelsB, inner);
        checkpoint.call(checkpoint.context);
      }
    }
  }
}

}  // namespace

}  // namespace hsap
