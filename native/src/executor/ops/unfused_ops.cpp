#include "ops/unfused_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "transport/strided_copy.h"

namespace hsap {

namespace {

constexpr float negativeInfinity = -std::numeric_limits<float>::infinity();
constexpr std::int64_t queriesPerBlock = 96;

float widen(float x) { return x; }
float widen(Bf16 x) { return toFloat(x); }

float scaleOf(const PlacedBlock& q) { return 1.0f / std::sqrt(static_cast<float>(q.width)); }

// Keys per panel, so that a transposed panel takes at most 1 MiB of scratch.
std::int64_t keysPerPanel(std::int32_t width) { return std::clamp<std::int64_t>((std::int64_t{1} << 18) / width, 1, 128); }

// panel[column][key] = block's row `key` of one head, for `count` keys from `first` on.
void transpose(const PlacedBlock& block, std::int64_t head, std::int64_t first, std::int64_t count, std::int64_t stride,
               float* panel) {
  const auto fill = [&](const auto& keys) {
    for (std::int64_t key = 0; key < count; ++key) {
      const auto* row = keys.data + key * keys.tokenStride;
      for (std::int32_t column = 0; column < block.width; ++column) panel[column * stride + key] = widen(row[column]);
    }
  };
  const BlockView keys = block.view.at(first, head);
  keys.type == ElementType::fp32 ? fill(keys.as<float>()) : fill(keys.as<Bf16>());
}

// Rows that are widened at once, if they must be: they take at most half a MiB of scratch.
std::int64_t rowsPerChunk(std::int32_t width) { return std::clamp<std::int64_t>((std::int64_t{1} << 17) / width, 1, 512); }

// Some rows of one head of a block as fp32.
struct Rows {
  std::int64_t first, count;
  const float* data;
  std::ptrdiff_t stride;
};

// Calls body for the block's rows of one head, chunk by chunk. What is not stored as fp32 is widened into `buffer`, which holds
// rowsPerChunk rows.
template <typename Body>
void forRows(const PlacedBlock& block, std::int64_t head, float* buffer, const Body& body) {
  const std::int64_t tokens = block.box.tokens(), step = rowsPerChunk(block.width);
  for (std::int64_t first = 0; first < tokens; first += step) {
    const std::int64_t count = std::min(step, tokens - first);
    const BlockView rows = block.view.at(first, head);
    if (rows.type == ElementType::fp32) {
      body(Rows{first, count, rows.as<float>().data, rows.tokenStride});
      continue;
    }
    copyBlock(View{buffer, 0, block.width}, rows, static_cast<std::int32_t>(count), 1, block.width, false);
    body(Rows{first, count, buffer, block.width});
  }
}

float* reserveFloats(Scratch& scratch, std::int64_t floats) {
  return static_cast<float*>(scratch.reserve(static_cast<std::size_t>(floats) * sizeof(float)));
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
  float* panel = reserveFloats(context.scratch, panelKeys * k.width + rowsPerChunk(q.width) * q.width);
  float* buffer = panel + panelKeys * k.width;
  for (std::int32_t head = 0; head < q.box.heads(); ++head) {
    context.checkpoint();
    for (std::int64_t i = 0; i < queries; ++i) std::fill_n(s.row(i, head), s.width, 0.0f);
    for (std::int64_t first = 0; first < keys; first += panelKeys) {
      const std::int64_t count = std::min(panelKeys, keys - first);
      transpose(k, groups.kvHead(head), first, count, panelKeys, panel);
      forRows(q, head, buffer, [&](const Rows& rows) {
        context.dense.multiplyAdd(s.row(rows.first, head) + first, s.view.tokenStride, rows.data, rows.stride, 1, panel,
                                  panelKeys, rows.count, count, q.width, scaleOf(q));
      });
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
  float* buffer = reserveFloats(context.scratch, rowsPerChunk(v.width) * v.width);
  for (std::int32_t head = 0; head < o.box.heads(); ++head) {
    context.checkpoint();
    forRows(v, groups.kvHead(head), buffer, [&](const Rows& values) {
      context.dense.multiplyAdd(o.row(0, head), o.view.tokenStride, s.row(0, head) + values.first, s.view.tokenStride, 1,
                                values.data, values.stride, o.box.tokens(), o.width, values.count, 1.0f);
    });
  }
}

void weighBackward(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& v,
                   const PlacedBlock& dO, const PlacedBlock& delta, const PlacedBlock& dv) {
  const std::int64_t keys = v.box.tokens(), panelKeys = keysPerPanel(v.width);
  float* panel =
      reserveFloats(context.scratch, panelKeys * v.width + queriesPerBlock * panelKeys + rowsPerChunk(dO.width) * dO.width);
  float* products = panel + panelKeys * v.width;
  float* buffer = products + queriesPerBlock * panelKeys;
  for (std::int32_t head = 0; head < dO.box.heads(); ++head) {
    context.checkpoint();
    const std::int32_t kvHead = groups.kvHead(head);
    forRows(dO, head, buffer, [&](const Rows& rows) {
      context.dense.multiplyAdd(dv.row(0, kvHead), dv.view.tokenStride, s.row(rows.first, head), 1, s.view.tokenStride, rows.data,
                                rows.stride, keys, dv.width, rows.count, 1.0f);
    });
    for (std::int64_t first = 0; first < keys; first += panelKeys) {
      const std::int64_t count = std::min(panelKeys, keys - first);
      transpose(v, kvHead, first, count, panelKeys, panel);
      forRows(dO, head, buffer, [&](const Rows& rows) {
        for (std::int64_t begin = 0; begin < rows.count; begin += queriesPerBlock) {
          const std::int64_t block = std::min(queriesPerBlock, rows.count - begin);
          std::fill_n(products, block * panelKeys, 0.0f);
          context.dense.multiplyAdd(products, panelKeys, rows.data + begin * rows.stride, rows.stride, 1, panel, panelKeys, block,
                                    count, v.width, 1.0f);
          for (std::int64_t i = 0; i < block; ++i)
            context.dense.multiplyShifted(s.row(rows.first + begin + i, head) + first, products + i * panelKeys, count,
                                          *delta.row(rows.first + begin + i, head));
        }
      });
    }
  }
}

void unscore(const UnfusedContext& context, HeadGroups groups, const PlacedBlock& s, const PlacedBlock& q, const PlacedBlock& k,
             const PlacedBlock& dq, const PlacedBlock& dk) {
  const std::int64_t queries = q.box.tokens(), keys = k.box.tokens();
  const std::int32_t width = std::max(q.width, k.width);
  float* buffer = reserveFloats(context.scratch, std::max(rowsPerChunk(q.width), rowsPerChunk(k.width)) * width);
  for (std::int32_t head = 0; head < q.box.heads(); ++head) {
    context.checkpoint();
    const std::int32_t kvHead = groups.kvHead(head);
    forRows(k, kvHead, buffer, [&](const Rows& rows) {
      context.dense.multiplyAdd(dq.row(0, head), dq.view.tokenStride, s.row(0, head) + rows.first, s.view.tokenStride, 1,
                                rows.data, rows.stride, queries, dq.width, rows.count, scaleOf(q));
    });
    forRows(q, head, buffer, [&](const Rows& rows) {
      context.dense.multiplyAdd(dk.row(0, kvHead), dk.view.tokenStride, s.row(rows.first, head), 1, s.view.tokenStride, rows.data,
                                rows.stride, keys, dk.width, rows.count, scaleOf(q));
    });
  }
}

}  // namespace hsap
