#include "tiles/plain.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hsap {

namespace {

constexpr float negativeInfinity = -std::numeric_limits<float>::infinity();

[[maybe_unused]] float toFloat(float x) { return x; }

template <class Element>
Element* row(const BasicView<Element>& view, std::int64_t token, std::int64_t head) {
  return view.data + head * view.headStride + token * view.tokenStride;
}

template <class Element>
std::int64_t visibleKeys(const BasicTile<Element>& tile, std::int64_t query) {
  if (tile.mask == Mask::full) return tile.kTokens;
  return std::clamp<std::int64_t>(query + tile.causalOffset + 1, 0, tile.kTokens);
}

template <class Element>
float dot(const Element* a, const Element* b, std::int32_t count) {
  float sum = 0;
  for (std::int32_t c = 0; c < count; ++c) sum += toFloat(a[c]) * toFloat(b[c]);
  return sum;
}

template <class Element>
void addScaled(float* target, float factor, const Element* source, std::int32_t count) {
  for (std::int32_t c = 0; c < count; ++c) target[c] += factor * toFloat(source[c]);
}

// Scores of one query are computed twice (maximum, then sum), so no buffer is needed.
template <class Element>
void forwardRow(const BasicTile<Element>& tile, std::int64_t query, std::int64_t head) {
  const std::int64_t kvHead = (head + tile.groupOffset) / tile.groupSize, keys = visibleKeys(tile, query);
  if (keys == 0) return;
  const float scale = 1.0f / std::sqrt(static_cast<float>(tile.headDim));
  const Element* q = row(tile.q, query, head);
  float* o = row(tile.o, query, head);
  float& lse = *row(tile.lse, query, head);
  float largest = lse;
  for (std::int64_t j = 0; j < keys; ++j) largest = std::max(largest, scale * dot(q, row(tile.k, j, kvHead), tile.headDim));
  float sum = std::exp(lse - largest);
  for (std::int32_t c = 0; c < tile.headDim; ++c) o[c] *= sum;
  for (std::int64_t j = 0; j < keys; ++j) {
    const float p = std::exp(scale * dot(q, row(tile.k, j, kvHead), tile.headDim) - largest);
    sum += p;
    addScaled(o, p, row(tile.v, j, kvHead), tile.headDim);
  }
  for (std::int32_t c = 0; c < tile.headDim; ++c) o[c] /= sum;
  lse = largest + std::log(sum);
}

template <class Element>
void backwardRow(const BasicTile<Element>& tile, std::int64_t query, std::int64_t head) {
  const std::int64_t kvHead = (head + tile.groupOffset) / tile.groupSize;
  const float scale = 1.0f / std::sqrt(static_cast<float>(tile.headDim));
  const Element *q = row(tile.q, query, head), *dO = row(tile.dO, query, head);
  const float lse = *row(tile.lse, query, head), delta = *row(tile.delta, query, head);
  if (lse == negativeInfinity) return;
  for (std::int64_t j = 0; j < visibleKeys(tile, query); ++j) {
    const Element* k = row(tile.k, j, kvHead);
    const float p = std::exp(scale * dot(q, k, tile.headDim) - lse);
    const float ds = scale * p * (dot(dO, row(tile.v, j, kvHead), tile.headDim) - delta);
    addScaled(row(tile.dv, j, kvHead), p, dO, tile.headDim);
    addScaled(row(tile.dq, query, head), ds, k, tile.headDim);
    addScaled(row(tile.dk, j, kvHead), ds, q, tile.headDim);
  }
}

}  // namespace

template <class Element>
void plainForward(const BasicTile<Element>& tile) {
  for (std::int32_t head = 0; head < tile.heads; ++head) {
    for (std::int32_t query = 0; query < tile.qTokens; ++query) forwardRow(tile, query, head);
  }
}

template <class Element>
void plainBackward(const BasicTile<Element>& tile) {
  for (std::int32_t head = 0; head < tile.heads; ++head) {
    for (std::int32_t query = 0; query < tile.qTokens; ++query) backwardRow(tile, query, head);
  }
}

template void plainForward(const BasicTile<float>&);
template void plainForward(const BasicTile<Bf16>&);
template void plainBackward(const BasicTile<float>&);
template void plainBackward(const BasicTile<Bf16>&);

}  // namespace hsap
