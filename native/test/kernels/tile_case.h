// Random tiles with their float64 truth, for the tests of the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "hsap/kernels.h"
#include "hsap/scratch.h"

namespace tile_case {

using hsap::Isa;
using hsap::Kernels;
using hsap::Mask;
using hsap::Tile;
using hsap::View;

constexpr float infinity = std::numeric_limits<float>::infinity();

inline std::vector<const Kernels*> allKernels() {
  std::vector<const Kernels*> all;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
    if (hsap::kernelsFor(isa) != nullptr) all.push_back(hsap::kernelsFor(isa));
  }
  return all;
}

// A tensor of tokens x heads x width, with unused floats around its rows that no kernel may touch.
struct Tensor {
  static constexpr float guard = -12345.0f;
  int tokens, heads, width, gap;
  std::vector<float> data;

  Tensor(int tokens_, int heads_, int width_, int gap_ = 0, float fill = 0)
      : tokens(tokens_),
        heads(heads_),
        width(width_),
        gap(gap_),
        data(static_cast<std::size_t>(tokens_) * heads_ * (width_ + gap_) + gap_ + 1, guard) {
    for (int h = 0; h < heads; ++h) {
      for (int t = 0; t < tokens; ++t) {
        for (int c = 0; c < width; ++c) (*this)(t, h, c) = fill;
      }
    }
  }

  // Layout [token][head][width + gap] if there is a gap, [head][token][width] if not: both strides get exercised.
  std::ptrdiff_t tokenStride() const { return gap > 0 ? std::ptrdiff_t{heads} * (width + gap) : width; }
  std::ptrdiff_t headStride() const { return gap > 0 ? width + gap : std::ptrdiff_t{tokens} * width; }
  View view(int firstToken = 0) { return {data.data() + gap + firstToken * tokenStride(), headStride(), tokenStride()}; }
  float& operator()(int t, int h, int c) { return data[gap + t * tokenStride() + h * headStride() + c]; }
  float operator()(int t, int h, int c) const { return data[gap + t * tokenStride() + h * headStride() + c]; }

  Tensor& randomise(unsigned seed, float scale = 1) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0, scale);
    for (int h = 0; h < heads; ++h) {
      for (int t = 0; t < tokens; ++t) {
        for (int c = 0; c < width; ++c) (*this)(t, h, c) = normal(generator);
      }
    }
    return *this;
  }

  // Rounds every element to bf16, so that a bf16 copy holds the same numbers.
  void roundToBf16() {
    for (float& x : data) x = hsap::toFloat(hsap::toBf16(x));
  }

  bool guardsIntact() const {
    std::size_t untouched = 0;
    for (const float x : data) untouched += x == guard;
    return untouched >= data.size() - static_cast<std::size_t>(tokens) * heads * width;
  }
};

// The same numbers as a tensor's, stored as bf16 in the same layout.
struct Bf16Tensor {
  std::vector<hsap::Bf16> data;
  hsap::Bf16View layout;

  explicit Bf16Tensor(Tensor& from) : layout{nullptr, from.headStride(), from.tokenStride()} {
    for (const float x : from.data) data.push_back(hsap::toBf16(x));
    layout.data = data.data() + (from.view().data - from.data.data());
  }
};

struct Shape {
  int qTokens, kTokens, heads, headDim;
  int groupSize = 1, groupOffset = 0;
  Mask mask = Mask::full;
  std::int64_t causalOffset = 0;
  float logits = 1;  // scale of q
  int gap = 0;
  bool bf16 = false;  // inputs are rounded to bf16

  int kvHeads() const { return (heads - 1 + groupOffset) / groupSize + 1; }
  int kvHead(int head) const { return (head + groupOffset) / groupSize; }
  int visible(int query) const {
    if (mask == Mask::full) return kTokens;
    const std::int64_t keys = query + causalOffset + 1;
    return static_cast<int>(keys < 0 ? 0 : keys > kTokens ? kTokens : keys);
  }
  std::string name() const {
    return check::text("q ", qTokens, " k ", kTokens, " heads ", heads, " headDim ", headDim, " group ", groupSize, "+",
                       groupOffset, mask == Mask::full ? " full" : " causal ", causalOffset, " logits ", logits, " gap ", gap);
  }
};

// Double precision counterpart of a Tensor, [token][head][width].
struct Truth {
  int heads, width;
  std::vector<double> data;
  Truth(int tokens, int heads_, int width_)
      : heads(heads_), width(width_), data(static_cast<std::size_t>(tokens) * heads_ * width_) {}
  double* at(int t, int h) { return data.data() + (static_cast<std::size_t>(t) * heads + h) * width; }
};

// Relative L2 error of a tensor; absolute (root mean square) where the truth is all zero, as the gradients of a softmax over one
// key are. NaN anywhere makes it NaN, which no comparison accepts.
inline double relativeError(const Tensor& actual, Truth& expected) {
  double error = 0, size = 0;
  const double count = static_cast<double>(actual.tokens) * actual.heads * actual.width;
  for (int t = 0; t < actual.tokens; ++t) {
    for (int h = 0; h < actual.heads; ++h) {
      for (int c = 0; c < actual.width; ++c) {
        const double truth = expected.at(t, h)[c];
        if (std::isinf(truth) && actual(t, h, c) == truth) continue;
        error += (actual(t, h, c) - truth) * (actual(t, h, c) - truth);
        size += truth * truth;
      }
    }
  }
  return std::sqrt(error / (size > 0 ? size : count));
}

// Error of a tensor of lse, relative to 1 + |lse|: an absolute error of lse is a relative error of the weights.
inline double lseError(const Tensor& actual, Truth& expected) {
  double worst = 0;
  for (int t = 0; t < actual.tokens; ++t) {
    for (int h = 0; h < actual.heads; ++h) {
      const double truth = *expected.at(t, h), error = std::abs(actual(t, h, 0) - truth) / (1 + std::abs(truth));
      if (actual(t, h, 0) == truth) continue;
      if (std::isnan(error)) return error;
      worst = std::max(worst, error);
    }
  }
  return worst;
}

// One tile's inputs and what forward and backward must give, by the definitions and one element at a time.
struct TileCase {
  Shape shape;
  Tensor q, k, v, dO;
  Truth o, lse, dq, dk, dv;
  Tensor lseInput, delta;  // what backward is given: the truth rounded to fp32

  explicit TileCase(const Shape& s, unsigned seed = 1)
      : shape(s),
        q(s.qTokens, s.heads, s.headDim, s.gap),
        k(s.kTokens, s.kvHeads(), s.headDim, s.gap),
        v(s.kTokens, s.kvHeads(), s.headDim, s.gap),
        dO(s.qTokens, s.heads, s.headDim, s.gap),
        o(s.qTokens, s.heads, s.headDim),
        lse(s.qTokens, s.heads, 1),
        dq(s.qTokens, s.heads, s.headDim),
        dk(s.kTokens, s.kvHeads(), s.headDim),
        dv(s.kTokens, s.kvHeads(), s.headDim),
        lseInput(s.qTokens, s.heads, 1, s.gap),
        delta(s.qTokens, s.heads, 1, s.gap) {
    q.randomise(seed, s.logits);
    k.randomise(seed + 1);
    v.randomise(seed + 2);
    dO.randomise(seed + 3);
    if (s.bf16) {
      for (Tensor* tensor : {&q, &k, &v, &dO}) tensor->roundToBf16();
    }
    for (int h = 0; h < s.heads; ++h) {
      for (int i = 0; i < s.qTokens; ++i) computeRow(i, h);
    }
  }

  Tile tile() {
    Tile t;
    t.q = q.view(), t.k = k.view(), t.v = v.view(), t.dO = dO.view(), t.delta = delta.view(), t.lse = lseInput.view();
    t.qTokens = shape.qTokens, t.kTokens = shape.kTokens, t.heads = shape.heads, t.headDim = shape.headDim;
    t.groupSize = shape.groupSize, t.groupOffset = shape.groupOffset;
    t.mask = shape.mask, t.causalOffset = shape.causalOffset;
    return t;
  }

  // The same tile on bf16 copies of its inputs.
  struct Bf16Inputs {
    Bf16Tensor q, k, v, dO;
    explicit Bf16Inputs(TileCase& from) : q(from.q), k(from.k), v(from.v), dO(from.dO) {}
    hsap::Bf16Tile tile(const Tile& like) const {
      hsap::Bf16Tile t;
      t.q = q.layout, t.k = k.layout, t.v = v.layout, t.dO = dO.layout;
      t.o = like.o, t.lse = like.lse, t.delta = like.delta, t.dq = like.dq, t.dk = like.dk, t.dv = like.dv;
      t.qTokens = like.qTokens, t.kTokens = like.kTokens, t.heads = like.heads, t.headDim = like.headDim;
      t.groupSize = like.groupSize, t.groupOffset = like.groupOffset, t.causalOffset = like.causalOffset, t.mask = like.mask;
      return t;
    }
  };

 private:
  void computeRow(int i, int h) {
    const int keys = shape.visible(i), g = shape.kvHead(h), d = shape.headDim;
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    std::vector<double> p(keys), dp(keys);
    double largest = -infinity, sum = 0, dot = 0;
    for (int j = 0; j < keys; ++j) {
      for (int c = 0; c < d; ++c) {
        p[j] += scale * q(i, h, c) * k(j, g, c);
        dp[j] += static_cast<double>(dO(i, h, c)) * v(j, g, c);
      }
      largest = std::max(largest, p[j]);
    }
    for (int j = 0; j < keys; ++j) sum += p[j] = std::exp(p[j] - largest);
    for (int j = 0; j < keys; ++j) dot += (p[j] /= sum) * dp[j];
    *lse.at(i, h) = keys > 0 ? largest + std::log(sum) : -infinity;
    lseInput(i, h, 0) = static_cast<float>(*lse.at(i, h));
    // Kernels must not read delta of rows that saw no key.
    delta(i, h, 0) = keys > 0 ? static_cast<float>(dot) : std::numeric_limits<float>::quiet_NaN();
    for (int j = 0; j < keys; ++j) {
      const double ds = p[j] * (dp[j] - dot) * scale;
      for (int c = 0; c < d; ++c) {
        o.at(i, h)[c] += p[j] * v(j, g, c);
        dq.at(i, h)[c] += ds * k(j, g, c);
        dk.at(j, g)[c] += ds * q(i, h, c);
        dv.at(j, g)[c] += p[j] * dO(i, h, c);
      }
    }
  }
};

// Shapes that every kernel is tested on: ragged sizes against each other, head dimensions, groups and causal offsets.
inline std::vector<Shape> shapes() {
  std::vector<Shape> list;
  const int sizes[] = {1, 7, 15, 17, 63, 65, 127, 129};
  for (const int q : sizes) {
    for (const int k : sizes) list.push_back({.qTokens = q, .kTokens = k, .heads = 1, .headDim = 64});
  }
  for (const int headDim : {64, 80, 96, 128, 256, 1, 2, 7, 16, 31, 33, 100, 130}) {
    for (const int size : {17, 65}) {
      list.push_back({.qTokens = size, .kTokens = size, .heads = 2, .headDim = headDim, .mask = Mask::causal, .gap = 3});
      list.push_back({.qTokens = size, .kTokens = size + 6, .heads = 2, .headDim = headDim, .groupSize = 2});
    }
  }
  for (const std::int64_t offset : {-200, -129, -128, -100, -31, -1, 0, 1, 5, 16, 63, 127, 128, 500}) {
    list.push_back({.qTokens = 129, .kTokens = 127, .heads = 1, .headDim = 64, .mask = Mask::causal, .causalOffset = offset});
    list.push_back(
        {.qTokens = 33, .kTokens = 65, .heads = 3, .headDim = 80, .groupSize = 3, .mask = Mask::causal, .causalOffset = offset});
  }
  for (const int groupSize : {1, 4, 8}) {
    for (const int groupOffset : {0, 1, 3, 7}) {
      if (groupOffset >= groupSize) continue;
      for (const int heads : {1, 3, 8, 11}) {
        list.push_back({.qTokens = 19,
                        .kTokens = 37,
                        .heads = heads,
                        .headDim = 64,
                        .groupSize = groupSize,
                        .groupOffset = groupOffset,
                        .mask = Mask::causal,
                        .causalOffset = 18,
                        .gap = 1});
      }
    }
  }
  // More rows and keys than one packed block holds.
  for (const Mask mask : {Mask::full, Mask::causal}) {
    list.push_back({.qTokens = 530, .kTokens = 530, .heads = 1, .headDim = 64, .mask = mask});
    list.push_back(
        {.qTokens = 300, .kTokens = 600, .heads = 2, .headDim = 128, .groupSize = 2, .mask = mask, .causalOffset = 290});
  }
  return list;
}

}  // namespace tile_case
