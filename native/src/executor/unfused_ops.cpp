#include "unfused_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hsap {

namespace {

constexpr float negativeInfinity = -std::numeric_limits<float>::infinity();
constexpr std::int64_t queriesPerBlock = 96;

float scaleOf(const PlacedBlock& q) { return 1.0f / std::sqrt(static_cast<float>(q.width)); }

// Keys per panel, so that a transposed panel takes at most 1 MiB of scratch.
std::int64_t keysPerPanel(std::int32_t width) { return std::clamp<std::int64_t>((std::int64_t{1} << 18) / width, 1, 128); }

// panel[column][key] = block's row `key` of one head, for `count` keys from `first` on.
void transpose(const PlacedBlock& block, std::int64_t head, std::int64_t first, std::int64_t count, std::int64_t stride,
               float* panel) {
  for (std::int64_t key = 0; key < count; ++key) {
    const float* row = block.row(first + key, head);
    for (std::int32_t column = 0; column < block.width; ++column) panel[column * stride + key] = row[column];
  }
}

struct KeyRange {
  std::int64_t begin, end;
};

// The keys, counted from the block's first, that query token `query` (global) may see.
KeyRange visibleKeys(const AttentionProblem& problem, TileMask mask, std::int32_t query, const Box& keys) {
  std::int64_t begin = keys.tokenBegin, end = keys.tokenEnd;
  if (mask == TileMask::document) {
    const auto& cuSeqlens = problem.cuSeqlens;
    const auto next = std::upper_bound(cuSeqlens.begin(), cuSeqlens.end(), query);
    begin = std::max<std::int64_t>(begin, *(next - 1));
    end = std::min<std::int64_t>(end, *next);
  }
  if (mask == TileMask::causal || (mask == TileMask::document && problem.causal))
    end = std::min<std::int64_t>(end, std::int64_t{query} + 1);
  end = std::max(begin, end);
  return {begin - keys.tokenBegin, end - keys.tokenBegin};
}

void maskRow(float* row, std::int64_t width, KeyRange visible) {
  if (visible.begin >= visible.end) visible = {0, 0};
  std::fill(row, row + visible.begin, negativeInfinity);
  std::fill(row + visible.end, row + width, negativeInfinity);
}

}  // namespace

void score(const UnfusedContext& context, TileMask mask, HeadGroups groups, const PlacedBlock& q, const PlacedBlock& k,
           const PlacedBlock& s) {
  const std::int64_t queries = q.box.tokens(), keys = k.box.tokens(), panelKeys = keysPerPanel(k.width);
  auto* panel = static_cast<float*>(context.scratch.reserve(static_cast<std::size_t>(panelKeys) * k.width * sizeof(float)));
  for (std::int32_t head = 0; head < q.box.heads(); ++head) {
    context.checkpoint();
    for (std::int64_t i = 0; i < queries; ++i) std::fill_n(s.row(i, head), s.width, 0.0f);
    for (std::int64_t first = 0; first < keys; first += panelKeys) {
      const std::int64_t count = std::min(panelKeys, keys - first);
      transpose(k, groups.kvHead(head), first, count, panelKeys, panel);
      context.dense.multiplyAdd(s.row(0, head) + first, s.view.tokenStride, q.row(0, head), q.view.tokenStride, 1, panel,
                                panelKeys, queries, count, q.width, scaleOf(q));
    }
    for (std::int64_t i = 0; i < queries; ++i) {
      const auto query = static_cast<std::int32_t>(q.box.tokenBegin + i);
      maskRow(s.row(i, head), s.width, visibleKeys(context.problem, mask, query, k.box));
    }
  }
}

void softmaxForward(const UnfusedContext& context, const PlacedBlock& lse, const std::vector<PlacedBlock>& parts) {
  for (std::int32_t head = 0; head < lse.box.heads(); ++head) {
    context.checkpoint();
    for (std::int64_t i = 0; i < lse.box.tokens(); ++i) {
      float largest = negativeInfinity, sum = 0;
      for (const PlacedBlock& s : parts) largest = std::max(largest, context.dense.maximum(s.row(i, head), s.width));
      if (largest == negativeInfinity) {
        for (const PlacedBlock& s : parts) std::fill_n(s.row(i, head), s.width, 0.0f);
        *lse.row(i, head) = negativeInfinity;
        continue;
      }
      for (const PlacedBlock& s : parts) sum += context.dense.exponentiate(s.row(i, head), s.width, largest);
      for (const PlacedBlock& s : parts) context.dense.scale(s.row(i, head), s.width, 1.0f / sum);
      *lse.row(i, head) = largest + std::log(sum);
    }
  }
}

void softmaxBackward(const UnfusedContext& context, const PlacedBlock& lse, const std::vector<PlacedBlock>& parts) {
  for (const PlacedBlock& s : parts) {
    for (std::int32_t head = 0; head < lse.box.heads(); ++head) {
      context.checkpoint();
      for (std::int64_t i = 0; i < lse.box.tokens(); ++i) {
        const float shift = *lse.row(i, head);
        if (shift == negativeInfinity) {
          std::fill_n(s.row(i, head), s.width, 0.0f);
        } else {
          context.dense.exponentiate(s.row(i, head), s.width, shift);
        }
      }
    }
  }
}

void weighForward(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& v,
                  const PlacedBlock& o) {
  for (std::int32_t head = 0; head < o.box.heads(); ++head) {
    context.checkpoint();
    context.dense.multiplyAdd(o.row(0, head), o.view.tokenStride, s.row(0, head), s.view.tokenStride, 1,
                              v.row(0, groups.kvHead(head)), v.view.tokenStride, o.box.tokens(), o.width, v.box.tokens(), 1.0f);
  }
}

void weighBackward(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& v,
                   const PlacedBlock& dO, const PlacedBlock& delta, const PlacedBlock& dv) {
  const std::int64_t queries = dO.box.tokens(), keys = v.box.tokens(), panelKeys = keysPerPanel(v.width);
  const std::int64_t panelFloats = panelKeys * v.width;
  auto* panel = static_cast<float*>(
      context.scratch.reserve(static_cast<std::size_t>(panelFloats + queriesPerBlock * panelKeys) * sizeof(float)));
  float* products = panel + panelFloats;
  for (std::int32_t head = 0; head < dO.box.heads(); ++head) {
    context.checkpoint();
    const std::int32_t kvHead = groups.kvHead(head);
    context.dense.multiplyAdd(dv.row(0, kvHead), dv.view.tokenStride, s.row(0, head), 1, s.view.tokenStride, dO.row(0, head),
                              dO.view.tokenStride, keys, dv.width, queries, 1.0f);
    for (std::int64_t first = 0; first < keys; first += panelKeys) {
      const std::int64_t count = std::min(panelKeys, keys - first);
      transpose(v, kvHead, first, count, panelKeys, panel);
      for (std::int64_t begin = 0; begin < queries; begin += queriesPerBlock) {
        const std::int64_t rows = std::min(queriesPerBlock, queries - begin);
        std::fill_n(products, rows * panelKeys, 0.0f);
        context.dense.multiplyAdd(products, panelKeys, dO.row(begin, head), dO.view.tokenStride, 1, panel, panelKeys, rows, count,
                                  v.width, 1.0f);
        for (std::int64_t i = 0; i < rows; ++i)
          context.dense.multiplyShifted(s.row(begin + i, head) + first, products + i * panelKeys, count,
                                        *delta.row(begin + i, head));
      }
    }
  }
}

void unscore(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& q, const PlacedBlock& k,
             const PlacedBlock& dq, const PlacedBlock& dk) {
  const std::int64_t queries = q.box.tokens(), keys = k.box.tokens();
  for (std::int32_t head = 0; head < q.box.heads(); ++head) {
    context.checkpoint();
    const std::int32_t kvHead = groups.kvHead(head);
    context.dense.multiplyAdd(dq.row(0, head), dq.view.tokenStride, s.row(0, head), s.view.tokenStride, 1, k.row(0, kvHead),
                              k.view.tokenStride, queries, dq.width, keys, scaleOf(q));
    context.dense.multiplyAdd(dk.row(0, kvHead), dk.view.tokenStride, s.row(0, head), 1, s.view.tokenStride, q.row(0, head),
                              q.view.tokenStride, keys, dk.width, queries, scaleOf(q));
  }
}

}  // namespace hsap
