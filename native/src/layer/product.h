// Matrix products for matrices of any strides, on the register tiles of the attention kernels.
//
// b is cut into blocks of `blockDepth` x `blockColumns`, packed into panels that stay in the second-level cache while all rows of
// a pass over them, `blockRows` at a time. Sums over one block's depth are made in registers and then added to c, block after
// block: the order depends on the shapes alone.
#pragma once

#include <cstdint>

#include "factors.h"
#include "hsap/layer.h"
#include "hsap/scratch.h"
#include "kernels/products/register_tile.h"

namespace hsap {

namespace {  // Each instruction set's file gets copies compiled with its own flags.

// In places of a panel: twice as many elements where factors are pairs.
constexpr std::int64_t blockDepth = 256, blockColumns = 768;
// What is summed in fp32 at once of a product that is stored as bf16.
constexpr std::int64_t sumRows = 576, sumColumns = 384;

template <class Simd>
constexpr std::int64_t blockRows = Simd::tileRows * 16;

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
      to[r] = c.at<float>(row + r, column);
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
    for (int i = 0; i < columns; ++i) *c.at<float>(row + r, column + i) += sums[r * stride + i];
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
          least(Simd::tileRows, rows - i), [&]<int count>() __attribute__((always_inline)) {
            multiplyTile<Simd, count>(c, row + i, column + j, least(stride, columns - j), a + i * stride, aPanelStride, panel,
                                      depth);
          });
    }
  }
}

template <class Simd>
constexpr std::int64_t wholePanels(std::int64_t count) {
  return (count + panelWidth<Simd> - 1) / panelWidth<Simd> * panelWidth<Simd>;
}

// Floats that addProduct takes of working memory.
template <class Factors>
std::int64_t roomFor(std::int64_t columns, std::int64_t depth) {
  using Simd = typename Factors::Simd;
  const std::int64_t deepest = wholePanels<Simd>(least(blockDepth, depth)),
                     widest = wholePanels<Simd>(least(blockColumns, columns));
  constexpr std::int64_t tallest = blockRows<Simd> < blockDepth ? blockDepth : blockRows<Simd>;
  return (widest + blockRows<Simd>)*deepest + convertedColumns * tallest;
}

// c += a b for c of fp32.
template <class Factors>
void addProduct(const Matrix& c, const Matrix& a, const Matrix& b, float* room, const Checkpoint& checkpoint) {
  using Simd = typename Factors::Simd;
  constexpr std::int64_t depthOfBlock = blockDepth * Factors::packed;
  const std::int64_t depth = a.columns.count, columns = c.columns.count, rows = c.rows.count;
  const std::int64_t deepest = wholePanels<Simd>(least(blockDepth, depth));
  float* panelsB = room;
  float* panelsA = panelsB + wholePanels<Simd>(least(blockColumns, columns)) * deepest;
  float* roomToConvert = panelsA + blockRows<Simd> * deepest;
  for (std::int64_t j = 0; j < columns; j += blockColumns) {
    const std::int64_t width = least(blockColumns, columns - j);
    for (std::int64_t l = 0; l < depth; l += depthOfBlock) {
      const std::int64_t inner = least(depthOfBlock, depth - l);
      Factors::packRight(b.someRows(l, inner).someColumns(j, width), panelsB, roomToConvert);
      for (std::int64_t i = 0; i < rows; i += blockRows<Simd>) {
        const std::int64_t height = least(blockRows<Simd>, rows - i);
        Factors::packLeft(a.someRows(i, height).someColumns(l, inner), panelsA, roomToConvert);
        multiplyPanels<Simd>(c, i, static_cast<int>(height), j, static_cast<int>(width), panelsA, panelsB,
                             static_cast<int>((inner + Factors::packed - 1) / Factors::packed));
        checkpoint.call(checkpoint.context);
      }
    }
  }
}

// c = a b for c of bf16, each element rounded once.
template <class Factors>
void setProduct(const Matrix& c, const Matrix& a, const Matrix& b, float* room, const Checkpoint& checkpoint) {
  float* sums = room + roomFor<Factors>(least(sumColumns, c.columns.count), a.columns.count);
  for (std::int64_t i = 0; i < c.rows.count; i += sumRows) {
    const std::int64_t rows = least(sumRows, c.rows.count - i);
    for (std::int64_t j = 0; j < c.columns.count; j += sumColumns) {
      const std::int64_t columns = least(sumColumns, c.columns.count - j);
      const Matrix part{
          reinterpret_cast<std::byte*>(sums), ElementType::fp32, {rows, rows, columns, 0}, {columns, columns, 1, 0}};
      for (std::int64_t k = 0; k < rows * columns; ++k) sums[k] = 0;
      addProduct<Factors>(part, a.someRows(i, rows), b.someColumns(j, columns), room, checkpoint);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t k = 0; k < columns;) {
          const std::int64_t run = runLength(c.columns, j + k, columns - k);
          convert(sums + r * columns + k, c.at<Bf16>(i + r, j + k), run);
          k += run;
        }
      }
    }
  }
}

template <class Factors>
void multiply(const Matrix& c, const Matrix& a, const Matrix& b, Scratch& scratch, const Checkpoint& checkpoint) {
  const bool adds = c.type == ElementType::fp32;
  const std::int64_t columns = c.columns.count, rows = c.rows.count;
  const std::int64_t room = roomFor<Factors>(adds ? columns : least(sumColumns, columns), a.columns.count);
  const std::int64_t sums = adds ? 0 : least(sumRows, rows) * least(sumColumns, columns);
  auto* memory = static_cast<float*>(scratch.reserve(static_cast<std::size_t>(room + sums) * sizeof(float)));
  adds ? addProduct<Factors>(c, a, b, memory, checkpoint) : setProduct<Factors>(c, a, b, memory, checkpoint);
}

// Bf16Factors is how this instruction set multiplies bf16.
template <class Simd, class Bf16Factors>
void multiplyAdd(const Matrix& c, const Matrix& a, const Matrix& b, Scratch& scratch, const Checkpoint& checkpoint) {
  const auto isBf16 = [](const Matrix& m) { return m.type == ElementType::bf16 || m.readsAsBf16; };
  !isBf16(a) && !isBf16(b) ? multiply<PlainFactors<Simd>>(c, a, b, scratch, checkpoint)
                           : multiply<Bf16Factors>(c, a, b, scratch, checkpoint);
}

}  // namespace

}  // namespace hsap
