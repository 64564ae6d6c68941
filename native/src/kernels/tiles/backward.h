// Backward tiles: five products per block of queries and block of keys.
//
// Per kv head and block of keys, k and v are packed once (both transposed as right factors of the scores and of dp, and k as it
// is as right factor of dq). Rows come in blocks: their probabilities p and score gradients ds are computed strip by strip and
// kept for the whole row block, because dv += p' dO and dk += ds' q run along its rows. dq, dk and dv are added to where they
// lie.
#pragma once

#include <cmath>
#include <cstdint>

#include "hsap/scratch.h"
#include "products/panels.h"
#include "products/register_tile.h"
#include "tiles/group_rows.h"
#include "tiles/plain.h"

namespace hsap {

// A block of rows against a block of keys.
template <class Simd>
struct BackwardBlock {
  // Rows of a block: a multiple of tileRows for every instruction set. With blocks of keys to match, all panels together take two
  // thirds of a second-level cache of a megabyte.
  static constexpr int blockRows = 144;
  static_assert(blockRows % Simd::tileRows == 0);

  int headDim, blockKeys, rowCount;
  float scale;
  const float* keysTransposed;    // panels [headDim][blockKeys], times scale * log2 e
  const float* valuesTransposed;  // panels [headDim][blockKeys]
  const float* keys;              // panels [blockKeys][headDim]
  float* queries;                 // panels [blockRows][headDim]
  float* dO;                      // panels [blockRows][headDim]
  float* p;                       // panels [blockRows][blockKeys]
  float* ds;                      // panels [blockRows][blockKeys]
  float lse[blockRows];           // infinity for a row that saw no key, so that its p is 0
  float delta[blockRows];
  int visible[blockRows];  // keys of this block that each row sees, ascending
  float* dq[blockRows];    // the rows' gradients
};

// p and ds of the rows row .. row + rows.
template <class Simd, int rows>
void computeGradientsOfScores(const BackwardBlock<Simd>& block, int row) {
  using F = typename Simd::F;
  constexpr int width = Simd::width, stride = panelWidth<Simd>;
  constexpr std::ptrdiff_t panelStride = std::ptrdiff_t{BackwardBlock<Simd>::blockRows} * stride;
  const int keyCount = block.visible[row + rows - 1];
  const auto probability = [](F score, float lse) { return Simd::exp2(Simd::fnma(Simd::set1(lse), Simd::set1(log2e), score)); };
  for (int key = 0; key < keyCount; key += stride) {
    float* p = block.p + key / stride * panelStride + row * stride;
    float* ds = block.ds + key / stride * panelStride + row * stride;
    const std::ptrdiff_t rightOffset = std::ptrdiff_t{key} * block.headDim;
    const auto compute = [&]<int vectors>() __attribute__((noinline)) {
      RegisterTile<Simd, rows, vectors> tile;
      tile.clear();
      tile.addRows(block.queries + row * stride, panelStride, block.keysTransposed + rightOffset, block.headDim);
      tile.forEach([&](int r, int n, F& sum) __attribute__((always_inline)) {
        Simd::store(p + r * stride + n * width, Simd::spareRegisters ? sum : probability(sum, block.lse[row + r]));
      });
      tile.clear();
      if constexpr (Simd::spareRegisters) {
        // The exponentials of the scores are computed beside the products of dp, two vectors for every four steps.
        int done = 0;
        const auto exponentiate = [&](int count) {
          for (int i = done; i < done + count; ++i) {
            float* score = p + i / vectors * stride + i % vectors * width;
            Simd::store(score, probability(Simd::load(score), block.lse[row + i / vectors]));
          }
          done += count;
        };
        tile.addRows(block.dO + row * stride, panelStride, block.valuesTransposed + rightOffset, block.headDim, [&](int, int) {
          if (done + 2 <= rows * vectors) exponentiate(2);
        });
        exponentiate(rows * vectors - done);
      } else {
        tile.addRows(block.dO + row * stride, panelStride, block.valuesTransposed + rightOffset, block.headDim);
      }
      if (key + vectors * width > block.visible[row]) maskRows<Simd>(p, rows, vectors, block.visible + row, key, 0);
      tile.forEach([&](int r, int n, F& sum) __attribute__((always_inline)) {
        const F x = Simd::load(p + r * stride + n * width);
        Simd::store(ds + r * stride + n * width, Simd::mul(x, Simd::sub(sum, Simd::set1(block.delta[row + r]))));
      });
    };
    if (keyCount - key > width) {
      compute.template operator()<2>();
    } else {
      compute.template operator()<1>();
      // The products along the rows read whole panels.
      for (int r = 0; r < rows; ++r) {
        Simd::store(p + r * stride + width, Simd::zero());
        Simd::store(ds + r * stride + width, Simd::zero());
      }
    }
  }
}

// rowOf(r)[0 .. columns) += tile row r * factor for all rows, the columns being those of the tile.
template <class Simd, int rows, int vectors, class RowOf>
[[gnu::always_inline]] inline void addTile(RegisterTile<Simd, rows, vectors>& tile, float factor, int columns,
                                           const RowOf& rowOf) {
  using F = typename Simd::F;
  const F factors = Simd::set1(factor);
  tile.forEach([&](int r, int n, F& sum) __attribute__((always_inline)) {
    float* to = rowOf(r) + n * Simd::width;
    const int left = columns - n * Simd::width;
    if (n + 1 < vectors || left >= Simd::width) {
      Simd::store(to, Simd::fma(sum, factors, Simd::load(to)));
    } else {
      Simd::storePartial(to, Simd::fma(sum, factors, Simd::loadPartial(to, left)), left);
    }
  });
}

// dq += scale * ds k for the rows row .. row + rows.
template <class Simd, int rows>
void addQueryGradients(const BackwardBlock<Simd>& block, int row) {
  constexpr int width = Simd::width, stride = panelWidth<Simd>;
  constexpr std::ptrdiff_t panelStride = std::ptrdiff_t{BackwardBlock<Simd>::blockRows} * stride;
  const float* keys = block.keys;
  for (int column = 0; column < block.headDim; column += stride, keys += block.blockKeys * stride) {
    const int columns = block.headDim - column;
    const auto compute = [&]<int vectors>() __attribute__((noinline)) {
      RegisterTile<Simd, rows, vectors> tile;
      tile.clear();
      tile.addRows(block.ds + row * stride, panelStride, keys, block.visible[row + rows - 1]);
      addTile(
          tile, block.scale, columns, [&](int r) __attribute__((always_inline)) { return block.dq[row + r] + column; });
    };
    if (columns > width) {
      compute.template operator()<2>();
    } else {
      compute.template operator()<1>();
    }
  }
}

// target rows key .. key + keys += factor * left' right, where left is p or ds and right is dO or q, along the block's rows from
// firstRow on, one panel of right's columns at a time.
template <class Simd, int keys>
void addKeyGradients(const BackwardBlock<Simd>& block, const float* left, const float* right, float factor, int firstRow,
                     float* target, std::ptrdiff_t targetStride, int columns) {
  constexpr int width = Simd::width, stride = panelWidth<Simd>;
  const auto compute = [&]<int vectors>() __attribute__((noinline)) {
    RegisterTile<Simd, keys, vectors> tile;
    tile.clear();
    tile.addColumns(left + firstRow * stride, right + firstRow * stride, block.rowCount - firstRow);
    addTile(
        tile, factor, columns, [&](int r) __attribute__((always_inline)) { return target + r * targetStride; });
  };
  if (columns > width) {
    compute.template operator()<2>();
  } else {
    compute.template operator()<1>();
  }
}

// Adds left' right to the gradient rows of all keys that the block's rows see.
template <class Simd, class Element>
void addGradientsOfKeys(const GroupRows<Element>& group, const BackwardBlock<Simd>& block, std::int64_t blockRow, int blockKey,
                        const float* left, const float* right, float factor, const View& view) {
  constexpr int stride = panelWidth<Simd>;
  constexpr std::ptrdiff_t panelStride = std::ptrdiff_t{BackwardBlock<Simd>::blockRows} * stride;
  const int keyCount = block.visible[block.rowCount - 1];
  for (int column = 0; column < block.headDim; column += stride, right += panelStride) {
    for (int panel = 0; panel < keyCount; panel += stride) {
      // A panel's keys are cut into register tiles of nearly equal size: small ones have too few accumulators to hide latency.
      const int panelKeys = least(stride, keyCount - panel), tiles = (panelKeys + Simd::tileRows - 1) / Simd::tileRows;
      for (int i = 0; i < tiles; ++i) {
        const int inPanel = panelKeys * i / tiles, keys = panelKeys * (i + 1) / tiles - inPanel, key = panel + inPanel;
        const std::int64_t firstRow = most<std::int64_t>(group.firstRowThatSees(blockKey + key) - blockRow, 0);
        float* target = at(view, blockKey + key, group.kvHead) + column;
        const float* leftKeys = left + panel / stride * panelStride + inPanel;
        withRows<Simd::tileRows>(keys, [&]<int count>() {
          addKeyGradients<Simd, count>(block, leftKeys, right, factor, static_cast<int>(firstRow), target, view.tokenStride,
                                       block.headDim - column);
        });
      }
    }
  }
}

// How scratch is divided for a tile.
template <class Simd>
struct BackwardPlan {
  static constexpr int largestHeadDim = 512;

  int blockKeys;
  float *keysTransposed, *valuesTransposed, *keys, *queries, *dO, *p, *ds;

  template <class Element>
  BackwardPlan(const BasicTile<Element>& tile, Scratch& scratch) {
    constexpr int stride = panelWidth<Simd>, blockRows = BackwardBlock<Simd>::blockRows;
    const int paddedDim = panelCount<Simd>(tile.headDim) * stride;
    blockKeys = least(most(24576 / paddedDim / stride * stride, stride), 256);
    blockKeys = least(blockKeys, panelCount<Simd>(tile.kTokens) * stride);
    const std::ptrdiff_t keyFloats = std::ptrdiff_t{blockKeys} * paddedDim, rowFloats = std::ptrdiff_t{blockRows} * paddedDim,
                         scoreFloats = std::ptrdiff_t{blockRows} * blockKeys;
    const std::ptrdiff_t floats = 3 * keyFloats + 2 * rowFloats + 2 * scoreFloats;
    keysTransposed = static_cast<float*>(scratch.reserve(floats * sizeof(float)));
    valuesTransposed = keysTransposed + keyFloats;
    keys = valuesTransposed + keyFloats;
    queries = keys + keyFloats;
    dO = queries + rowFloats;
    p = dO + rowFloats;
    ds = p + scoreFloats;
  }
};

template <class Simd, class Element>
void loadBackwardRows(const GroupRows<Element>& group, BackwardBlock<Simd>& block, std::int64_t blockRow, int firstRow,
                      int blockKey, int keys) {
  const BasicTile<Element>& tile = group.tile;
  group.forRows(blockRow + firstRow, block.rowCount - firstRow, [&](int row, std::int64_t token, int head) {
    const int i = firstRow + row;
    packRow<Simd>(at(tile.q, token, head), tile.headDim, block.queries, i, BackwardBlock<Simd>::blockRows);
    packRow<Simd>(at(tile.dO, token, head), tile.headDim, block.dO, i, BackwardBlock<Simd>::blockRows);
    const float lse = *at(tile.lse, token, head);
    const bool seen = lse != -INFINITY;
    block.lse[i] = seen ? lse : INFINITY;
    block.delta[i] = seen ? *at(tile.delta, token, head) : 0.0f;
    block.dq[i] = at(tile.dq, token, head);
    block.visible[i] = most(least(group.visibleKeysOfToken(token) - blockKey, keys), 0);
  });
}

template <class Simd, class Element>
void backwardGroup(const GroupRows<Element>& group, const BackwardPlan<Simd>& plan) {
  constexpr int tileRows = Simd::tileRows, blockRows = BackwardBlock<Simd>::blockRows;
  const BasicTile<Element>& tile = group.tile;
  const double scale = 1.0 / std::sqrt(static_cast<double>(tile.headDim));
  const std::int64_t rowCount = group.count();
  BackwardBlock<Simd> block;
  block.headDim = tile.headDim;
  block.scale = static_cast<float>(scale);
  block.keysTransposed = plan.keysTransposed;
  block.valuesTransposed = plan.valuesTransposed;
  block.keys = plan.keys;
  block.queries = plan.queries;
  block.dO = plan.dO;
  block.p = plan.p;
  block.ds = plan.ds;

  const int groupKeys = rowCount > 0 ? group.visibleKeys(rowCount - 1) : 0;
  for (int key = 0; key < groupKeys; key += plan.blockKeys) {
    const int keys = least(plan.blockKeys, groupKeys - key);
    const Element *k = at(tile.k, key, group.kvHead), *v = at(tile.v, key, group.kvHead);
    packTransposed<Simd>(k, tile.k.tokenStride, keys, tile.headDim, static_cast<float>(scale * 1.4426950408889634),
                         plan.keysTransposed);
    packTransposed<Simd>(v, tile.v.tokenStride, keys, tile.headDim, 1.0f, plan.valuesTransposed);
    packRows<Simd>(k, tile.k.tokenStride, keys, tile.headDim, plan.keys);
    block.blockKeys = keys;

    // Blocks lie where they lie for every block of keys, and where other calls for later rows of the same tile put them, so that
    // calls with whole blocks of rows add up as one call for all of them does.
    const std::int64_t firstRow = group.firstRowThatSees(key);
    for (std::int64_t row = firstRow / blockRows * blockRows; row < rowCount; row += blockRows) {
      block.rowCount = static_cast<int>(least<std::int64_t>(blockRows, rowCount - row));
      const int firstStrip = static_cast<int>(most<std::int64_t>(firstRow - row, 0)) / tileRows * tileRows;
      loadBackwardRows<Simd>(group, block, row, firstStrip, key, keys);
      for (int strip = firstStrip; strip < block.rowCount; strip += tileRows) {
        withRows<tileRows>(least(tileRows, block.rowCount - strip), [&]<int rows>() {
          computeGradientsOfScores<Simd, rows>(block, strip);
          addQueryGradients<Simd, rows>(block, strip);
        });
      }
      addGradientsOfKeys<Simd>(group, block, row, key, block.p, block.dO, 1.0f, tile.dv);
      addGradientsOfKeys<Simd>(group, block, row, key, block.ds, block.queries, block.scale, tile.dk);
    }
  }
}

template <class Simd, class Element>
void backwardTiles(const BasicTile<Element>* tiles, std::size_t count, Scratch& scratch) {
  for (const BasicTile<Element>* tile = tiles; tile != tiles + count; ++tile) {
    if (tile->headDim > BackwardPlan<Simd>::largestHeadDim) {
      plainBackward(*tile);
      continue;
    }
    const BackwardPlan<Simd> plan(*tile, scratch);
    GroupRows<Element>::forEach(*tile, [&](const GroupRows<Element>& group) { backwardGroup<Simd>(group, plan); });
  }
}

}  // namespace hsap
