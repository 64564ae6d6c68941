// Forward tiles: scores, online softmax and weighted values of register-tile rows against blocks of packed keys and values.
//
// Per kv head, keys (transposed, times scale * log2 e) and values are packed one block at a time; every row that sees the block
// then takes it in a strip of tileRows rows whose scores stay in the first-level cache. Between blocks a row's state is its
// unnormalised output in o, and its largest score and sum of exponentials (in base 2) in scratch.
//
// With Simd::packed = 2 the factors of both products are bf16 pairs: scores are scaled once they are computed, and probabilities
// are packed once they are exponentiated. Sums and outputs stay fp32.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "hsap/scratch.h"
#include "products/pair_panels.h"
#include "products/panels.h"
#include "products/register_tile.h"
#include "tiles/group_rows.h"
#include "tiles/plain.h"

namespace hsap {

// A strip of rows against one block of keys: what forwardStrip needs to know.
template <class Simd>
struct ForwardStrip {
  int headDim, blockKeys;
  float scale;               // of scores whose factors are packed; keys carry it otherwise
  const float* keys;         // panels [headDim / packed][blockKeys]
  const float* values;       // panels [blockKeys / packed][headDim]
  const float* queries;      // panels [tileRows][headDim / packed]
  float* scores;             // panels [tileRows][blockKeys]
  float* probabilities;      // panels [tileRows][blockKeys / packed]; the scores' own place if nothing is packed
  float *largest, *sum;      // state of the rows, used between blocks
  float* o[Simd::tileRows];  // the rows' outputs
  float* lse[Simd::tileRows];
  int visible[Simd::tileRows];  // keys of this block that each row sees, ascending
  bool first, last;             // of the blocks that these rows see
  int nextRows;                 // rows of the strip that follows, whose queries and outputs are fetched meanwhile
  const void* nextQueries[Simd::tileRows];
  const float* nextO[Simd::tileRows];
  int queryBytes;  // of a row

  int keyCount(int rows) const { return visible[rows - 1]; }
  // Elements of a factor that hold `count` numbers of the dimension that is summed over.
  static int elements(int count) { return (count + Simd::packed - 1) / Simd::packed; }
};

// Asks for the share of one key panel in the next strip's rows. A strip takes microseconds: time enough for memory, not for a
// cache.
template <class Simd>
[[gnu::always_inline]] inline void fetchAhead(const ForwardStrip<Simd>& strip, int panel, int panels) {
  constexpr int lineBytes = 64, lineFloats = 16;
  for (int row = strip.nextRows * panel / panels; row < strip.nextRows * (panel + 1) / panels; ++row) {
    const char* queries = static_cast<const char*>(strip.nextQueries[row]);
    for (int c = 0; c < strip.queryBytes; c += lineBytes) __builtin_prefetch(queries + c, 0, 2);
    for (int c = 0; c < strip.headDim; c += lineFloats) __builtin_prefetch(strip.nextO[row] + c, 1, 2);
  }
}

template <class Simd, int rows>
void computeScores(const ForwardStrip<Simd>& strip) {
  constexpr int width = Simd::width, stride = panelWidth<Simd>;
  const int keyCount = strip.keyCount(rows), dimElements = strip.elements(strip.headDim);
  const float* keys = strip.keys;
  float* scores = strip.scores;
  for (int key = 0; key < keyCount; key += stride, keys += dimElements * stride, scores += Simd::tileRows * stride) {
    fetchAhead(strip, key / stride, panelCount<Simd>(keyCount));
    const auto compute = [&]<int vectors>() __attribute__((noinline)) {
      RegisterTile<Simd, rows, vectors> tile;
      tile.clear();
      tile.addRows(strip.queries, Simd::tileRows * stride, keys, dimElements);
      tile.forEach([&](int r, int n, typename Simd::F& sum) __attribute__((always_inline)) {
        const auto score = Simd::packed == 1 ? sum : Simd::mul(sum, Simd::set1(strip.scale));
        Simd::store(scores + r * stride + n * width, score);
      });
      if (key + vectors * width > strip.visible[0]) maskRows<Simd>(scores, rows, vectors, strip.visible, key, -INFINITY);
    };
    if (keyCount - key > width) {
      compute.template operator()<2>();
    } else {
      compute.template operator()<1>();
      // The softmax may go over whole panels.
      for (int r = 0; r < rows; ++r) Simd::store(scores + r * stride + width, Simd::set1(-INFINITY));
    }
  }
}

// The softmax of a strip's rows, one lane per row. Scores become 2^(score - largest), and the rows' outputs are to become
// o * keep + (weighted values) * gain.
template <class Simd, int rows>
struct StripSoftmax {
  using F = typename Simd::F;
  static constexpr int width = Simd::width, stride = panelWidth<Simd>;
  static constexpr std::ptrdiff_t panelFloats = std::ptrdiff_t{Simd::tileRows} * stride;

  alignas(64) float largest[width], keep[width], gain[width];
  // Sums of exponentials by row and half of a panel, still to be added up.
  alignas(64) float sums[rows * stride];
  F sumBefore, decay;

  void findLargest(const ForwardStrip<Simd>& strip) {
    F before;
    if (strip.first) {
      startFromPartial(strip, before);
    } else {
      before = Simd::loadPartial(strip.largest, rows);
      sumBefore = Simd::loadPartial(strip.sum, rows);
    }
    const int vectors = (strip.keyCount(rows) + width - 1) / width;
    for (int r = 0; r < width; ++r) largest[r] = -INFINITY;
#pragma GCC unroll 1
    for (int r = 0; r < rows; ++r) {
      const float* scores = strip.scores + r * stride;
      F a = Simd::load(scores), b = a;
#pragma GCC unroll 1
      for (int vector = 2; vector <= vectors; vector += 2, scores += panelFloats) {
        a = Simd::max(a, Simd::load(scores));
        b = Simd::max(b, Simd::load(scores + width));
      }
      if (vectors % 2) a = Simd::max(a, Simd::load(scores));
      largest[r] = Simd::maxLanes(Simd::max(a, b));
    }
    const F now = Simd::max(before, Simd::load(largest));
    decay = Simd::exp2(Simd::sub(before, now));
    Simd::store(largest, now);
  }

  // Begins with the partial that o and lse hold. A row that has seen no key has largest = -FLT_MAX, not -inf, so that differences
  // stay numbers.
  void startFromPartial(const ForwardStrip<Simd>& strip, F& before) {
    for (int r = 0; r < width; ++r) largest[r] = r < rows ? *strip.lse[r] : -INFINITY;
    const F lse = Simd::load(largest);
    before = Simd::max(Simd::mul(lse, Simd::set1(log2e)), Simd::set1(-FLT_MAX));
    // What rounding lse * log2(e) lost goes into the sum: 2^rest = 1 + rest * ln 2.
    const F lost = Simd::fma(lse, Simd::set1(log2eRest), Simd::restOfProduct(lse, Simd::set1(log2e), before));
    const F seen = Simd::fma(lost, Simd::set1(ln2), Simd::set1(1));
    sumBefore = Simd::selectPositive(Simd::add(before, Simd::set1(FLT_MAX)), seen, Simd::zero());
  }

  void clearSums() {
    for (int i = 0; i < rows * stride; i += width) Simd::store(sums + i, Simd::zero());
  }

  // Exponentiates row r of a panel of keys.
  [[gnu::always_inline]] void exponentiate(const ForwardStrip<Simd>& strip, int keyPanel, int r) {
    float* scores = strip.scores + keyPanel * panelFloats + r * stride;
    const F offset = Simd::set1(largest[r]);
    const F a = Simd::exp2(Simd::sub(Simd::load(scores), offset)), b = Simd::exp2(Simd::sub(Simd::load(scores + width), offset));
    if constexpr (Simd::packed == 1) {
      Simd::store(scores, a);
      Simd::store(scores + width, b);
    } else {
      Simd::store(strip.probabilities + keyPanel / 2 * panelFloats + r * stride + keyPanel % 2 * width, Simd::pack(a, b));
    }
    float* sum = sums + r * stride;
    Simd::store(sum, Simd::add(Simd::load(sum), a));
    Simd::store(sum + width, Simd::add(Simd::load(sum + width), b));
  }

  // Exponentiates all scores, row by row.
  void exponentiateAll(const ForwardStrip<Simd>& strip) {
    const int vectors = (strip.keyCount(rows) + width - 1) / width;
#pragma GCC unroll 1
    for (int r = 0; r < rows; ++r) {
      const F offset = Simd::set1(largest[r]);
      float* scores = strip.scores + r * stride;
      F a = Simd::zero(), b = Simd::zero();
      const auto exponentiate = [&]<int count>() {
        F t[count];
#pragma GCC unroll 4
        for (int i = 0; i < count; ++i) t[i] = Simd::sub(Simd::load(scores + i / 2 * panelFloats + i % 2 * width), offset);
        Simd::exp2(t);
#pragma GCC unroll 4
        for (int i = 0; i < count; ++i) {
          Simd::store(scores + i / 2 * panelFloats + i % 2 * width, t[i]);
          (i % 2 ? b : a) = Simd::add(i % 2 ? b : a, t[i]);
        }
        scores += count / 2 * panelFloats;
      };
      int left = vectors;
      for (; left >= 4; left -= 4) exponentiate.template operator()<4>();
      if (left >= 2) exponentiate.template operator()<2>();
      if (left % 2) exponentiate.template operator()<1>();
      Simd::store(sums + r * stride, a);
      Simd::store(sums + r * stride + width, b);
    }
  }

  // Once all scores are exponentiated: keep and gain, and the rows' state for the next block or their final lse.
  [[gnu::noinline]] void finish(const ForwardStrip<Simd>& strip) {
    float lanes[width] = {};
    for (int r = 0; r < rows; ++r) {
      lanes[r] = Simd::sumLanes(Simd::add(Simd::load(sums + r * stride), Simd::load(sums + r * stride + width)));
    }
    const F fresh = Simd::load(lanes), sum = Simd::fma(sumBefore, decay, fresh), top = Simd::load(largest);
    // The partial that o holds at first is normalised: its weight is its whole sum, the rounding that went into it included.
    const F kept = strip.first ? Simd::mul(sumBefore, decay) : decay;
    if (!strip.last) {
      Simd::storePartial(strip.largest, top, rows);
      Simd::storePartial(strip.sum, sum, rows);
      Simd::store(keep, kept);
      Simd::store(gain, Simd::set1(1));
      return;
    }
    const F inverse = Simd::selectPositive(sum, Simd::div(Simd::set1(1), sum), Simd::set1(1));
    // From one normalised partial to the next the weights must sum to 1, or hundreds of small merges drift.
    Simd::store(keep, strip.first ? Simd::fnma(fresh, inverse, Simd::set1(1)) : Simd::mul(kept, inverse));
    Simd::store(gain, inverse);
    const F logSum = Simd::log(Simd::selectPositive(sum, sum, Simd::set1(1)));
    const F scaled = Simd::mul(top, Simd::set1(ln2)), rest = Simd::restOfProduct(top, Simd::set1(ln2), scaled);
    Simd::store(lanes, Simd::add(scaled, Simd::add(rest, Simd::fma(top, Simd::set1(ln2Rest), logSum))));
    for (int r = 0; r < rows; ++r) {
      // Only the first rows of a causal tile can see none of its keys; then this block is also the last of their strip.
      if (strip.visible[r] == 0 && strip.first) {
        keep[r] = gain[r] = 1;
      } else {
        *strip.lse[r] = lanes[r];
      }
    }
  }
};

// o = o * keep + tile * gain for the tile's columns, of which `columns` exist.
template <class Simd, int rows, int vectors>
[[gnu::always_inline]] inline void updateOutputs(const ForwardStrip<Simd>& strip, const StripSoftmax<Simd, rows>& softmax,
                                                 RegisterTile<Simd, rows, vectors>& tile, int column) {
  using F = typename Simd::F;
  constexpr int width = Simd::width;
  const int tail = strip.headDim - column - (vectors - 1) * width;
  tile.forEach([&](int r, int n, F& sum) __attribute__((always_inline)) {
    float* o = strip.o[r] + column + n * width;
    const F keep = Simd::set1(softmax.keep[r]), fresh = Simd::mul(sum, Simd::set1(softmax.gain[r]));
    if (n + 1 < vectors || tail >= width) {
      Simd::store(o, Simd::fma(Simd::load(o), keep, fresh));
    } else {
      Simd::storePartial(o, Simd::fma(Simd::loadPartial(o, tail), keep, fresh), tail);
    }
  });
}

// The weighted values of the first columns, with the exponentials of each panel computed while the previous one is multiplied.
template <class Simd, int rows, int vectors>
void addFirstValues(const ForwardStrip<Simd>& strip, StripSoftmax<Simd, rows>& softmax) {
  constexpr int packed = Simd::packed, quarters = panelWidth<Simd> / 4, quartersPerKeys = quarters / packed;
  const int keyCount = strip.keyCount(rows), keyPanels = panelCount<Simd>(keyCount);
  RegisterTile<Simd, rows, vectors> tile;
  softmax.clearSums();
  for (int keyPanel = 0; keyPanel < least(packed, keyPanels); ++keyPanel) {
    for (int r = 0; r < rows; ++r) softmax.exponentiate(strip, keyPanel, r);
  }
  tile.clear();
  tile.addRows(strip.probabilities, StripSoftmax<Simd, rows>::panelFloats, strip.values, strip.elements(keyCount),
               [&](int panel, int quarter) {
                 const int keyPanel = (panel + 1) * packed + quarter / quartersPerKeys, part = quarter % quartersPerKeys;
                 if (keyPanel >= keyPanels) return;
                 for (int r = rows * part / quartersPerKeys; r < rows * (part + 1) / quartersPerKeys; ++r) {
                   softmax.exponentiate(strip, keyPanel, r);
                 }
               });
  softmax.finish(strip);
  updateOutputs(strip, softmax, tile, 0);
}

template <class Simd, int rows, int vectors>
void addValues(const ForwardStrip<Simd>& strip, const StripSoftmax<Simd, rows>& softmax, int column) {
  RegisterTile<Simd, rows, vectors> tile;
  tile.clear();
  tile.addRows(strip.probabilities, StripSoftmax<Simd, rows>::panelFloats,
               strip.values + std::ptrdiff_t{column} * strip.elements(strip.blockKeys), strip.elements(strip.keyCount(rows)));
  updateOutputs(strip, softmax, tile, column);
}

template <class Simd, int rows>
void forwardStrip(const ForwardStrip<Simd>& strip) {
  constexpr int width = Simd::width, stride = panelWidth<Simd>;
  StripSoftmax<Simd, rows> softmax;
  computeScores<Simd, rows>(strip);
  softmax.findLargest(strip);
  int column = 0;
  if constexpr (Simd::spareRegisters) {
    if (strip.headDim > width) {
      addFirstValues<Simd, rows, 2>(strip, softmax);
    } else {
      addFirstValues<Simd, rows, 1>(strip, softmax);
    }
    column = stride;
  } else {
    softmax.exponentiateAll(strip);
    softmax.finish(strip);
  }
  for (; column < strip.headDim; column += stride) {
    if (strip.headDim - column > width) {
      addValues<Simd, rows, 2>(strip, softmax, column);
    } else {
      addValues<Simd, rows, 1>(strip, softmax, column);
    }
  }
}

// How scratch is divided for a tile.
template <class Simd>
struct ForwardPlan {
  // Rows whose state is kept at once; more rows than this see the keys packed anew.
  static constexpr int stateRows = 8192;
  static constexpr int largestHeadDim = 1024;

  int blockKeys;
  float *keys, *values, *queries, *scores, *probabilities, *largest, *sum;

  template <class Element>
  ForwardPlan(const BasicTile<Element>& tile, Scratch& scratch) {
    constexpr int stride = panelWidth<Simd>;
    const int paddedDim = panelCount<Simd>(tile.headDim) * stride;
    // Keys and values of a block take 384 KiB, of a second-level cache of a megabyte or more.
    blockKeys = least(most(49152 / paddedDim / stride * stride, stride), 384);
    blockKeys = least(blockKeys, panelCount<Simd>(tile.kTokens) * stride);
    const std::ptrdiff_t block = std::ptrdiff_t{blockKeys} * paddedDim;
    const std::ptrdiff_t floats =
        2 * block + Simd::tileRows * (paddedDim + Simd::packed * blockKeys) + 2 * (stateRows + Simd::width);
    keys = static_cast<float*>(scratch.reserve(floats * sizeof(float)));
    values = keys + block;
    queries = values + block;
    scores = queries + Simd::tileRows * paddedDim;
    probabilities = Simd::packed == 1 ? scores : scores + Simd::tileRows * blockKeys;
    largest = probabilities + Simd::tileRows * blockKeys;
    sum = largest + stateRows + Simd::width;
  }
};

template <class Simd, class Element>
void forwardGroup(const GroupRows<Element>& group, const ForwardPlan<Simd>& plan) {
  constexpr int tileRows = Simd::tileRows, stateRows = ForwardPlan<Simd>::stateRows / tileRows * tileRows;
  const BasicTile<Element>& tile = group.tile;
  const float scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(tile.headDim)));
  const std::int64_t rowCount = group.count();
  ForwardStrip<Simd> strip{};
  strip.headDim = tile.headDim;
  strip.queryBytes = tile.headDim * static_cast<int>(sizeof(Element));
  strip.keys = plan.keys;
  strip.values = plan.values;
  strip.queries = plan.queries;
  strip.scores = plan.scores;
  strip.probabilities = plan.probabilities;
  strip.scale = scale;

  for (std::int64_t chunk = 0; chunk < rowCount; chunk += stateRows) {
    const std::int64_t chunkEnd = least<std::int64_t>(chunk + stateRows, rowCount);
    const int chunkKeys = group.visibleKeys(chunkEnd - 1);
    for (int key = 0; key < chunkKeys; key += plan.blockKeys) {
      const int keys = least(plan.blockKeys, chunkKeys - key);
      const Element *k = at(tile.k, key, group.kvHead), *v = at(tile.v, key, group.kvHead);
      if constexpr (Simd::packed == 1) {
        packTransposed<Simd>(k, tile.k.tokenStride, keys, tile.headDim, scale, plan.keys);
        packRows<Simd>(v, tile.v.tokenStride, keys, tile.headDim, plan.values);
      } else {
        packPairsTransposed<Simd>(k, tile.k.tokenStride, keys, tile.headDim, plan.keys);
        packPairsOfRows<Simd>(v, tile.v.tokenStride, keys, tile.headDim, plan.values);
      }
      strip.blockKeys = keys;
      strip.first = key == 0;

      const std::int64_t firstRow = most<std::int64_t>(group.firstRowThatSees(key) - chunk, 0) / tileRows * tileRows + chunk;
      for (std::int64_t row = firstRow; row < chunkEnd; row += tileRows) {
        const int rows = static_cast<int>(least<std::int64_t>(tileRows, chunkEnd - row));
        group.forRows(row, rows, [&](int i, std::int64_t token, int head) {
          if constexpr (Simd::packed == 1) {
            packRow<Simd>(at(tile.q, token, head), tile.headDim, plan.queries, i, tileRows);
          } else {
            packPairRow<Simd>(at(tile.q, token, head), tile.headDim, plan.queries, i, tileRows);
          }
          strip.o[i] = at(tile.o, token, head);
          strip.lse[i] = at(tile.lse, token, head);
          strip.visible[i] = most(least(group.visibleKeysOfToken(token) - key, keys), 0);
        });
        strip.nextRows = static_cast<int>(most<std::int64_t>(least<std::int64_t>(tileRows, chunkEnd - row - tileRows), 0));
        group.forRows(row + tileRows, strip.nextRows, [&](int i, std::int64_t token, int head) {
          strip.nextQueries[i] = at(tile.q, token, head);
          strip.nextO[i] = at(tile.o, token, head);
        });
        strip.largest = plan.largest + (row - chunk);
        strip.sum = plan.sum + (row - chunk);
        strip.last = group.visibleKeys(row + rows - 1) <= key + keys;
        withRows<tileRows>(rows, [&]<int count>() { forwardStrip<Simd, count>(strip); });
      }
    }
  }
}

template <class Simd, class Element>
void forwardTiles(const BasicTile<Element>* tiles, std::size_t count, Scratch& scratch) {
  for (const BasicTile<Element>* tile = tiles; tile != tiles + count; ++tile) {
    if (tile->headDim > ForwardPlan<Simd>::largestHeadDim) {
      plainForward(*tile);
      continue;
    }
    const ForwardPlan<Simd> plan(*tile, scratch);
    GroupRows<Element>::forEach(*tile, [&](const GroupRows<Element>& group) { forwardGroup<Simd>(group, plan); });
  }
}

}  // namespace hsap
