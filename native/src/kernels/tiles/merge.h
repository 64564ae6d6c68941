// Merging of partial outputs, and sums of gradients.
#pragma once

#include <cmath>
#include <cstdint>

#include "vectors/least.h"

namespace hsap {

// Calls body(column, count) for the vectors of a row; count is below the width only in the last.
template <class Simd, class Body>
[[gnu::always_inline]] inline void forVectors(int columns, const Body& body) {
  for (int column = 0; column < columns; column += Simd::width) body(column, least(columns - column, Simd::width));
}

template <class Simd>
[[gnu::always_inline]] inline typename Simd::F loadUpTo(const float* p, int count) {
  return count == Simd::width ? Simd::load(p) : Simd::loadPartial(p, count);
}

template <class Simd>
[[gnu::always_inline]] inline void storeUpTo(float* p, typename Simd::F x, int count) {
  count == Simd::width ? Simd::store(p, x) : Simd::storePartial(p, x, count);
}

// With e = exp(-|delta|): sigmoid(delta) is 1 / (1 + e) or e / (1 + e), and lse grows to max + log(1 + e).
template <class Simd>
void mergeRows(const View& o, const View& lse, const View& oFrom, const View& lseFrom, std::int32_t tokens, std::int32_t heads,
               std::int32_t headDim) {
  using F = typename Simd::F;
  constexpr int width = Simd::width;
  for (std::int32_t head = 0; head < heads; ++head) {
    for (std::int32_t first = 0; first < tokens; first += width) {
      const int rows = least(tokens - first, width);
      float into[width], from[width], weight[width];
      for (int r = 0; r < width; ++r) {
        into[r] = r < rows ? *at(lse, first + r, head) : 0;
        from[r] = r < rows ? *at(lseFrom, first + r, head) : 0;
      }
      const F a = Simd::load(into), b = Simd::load(from), larger = Simd::max(a, b);
      const F delta = Simd::sub(b, a), distance = Simd::max(delta, Simd::sub(Simd::zero(), delta));
      const F e = Simd::exp2(Simd::mul(distance, Simd::set1(-log2e)));
      const F total = Simd::add(Simd::set1(1), e);
      Simd::store(weight, Simd::div(Simd::selectPositive(delta, Simd::set1(1), e), total));
      Simd::store(into, Simd::add(larger, Simd::log(total)));
      for (int r = 0; r < rows; ++r) {
        // A partial that has seen no key changes nothing, be the other one empty too or not.
        if (from[r] == -INFINITY) continue;
        *at(lse, first + r, head) = into[r];
        float* target = at(o, first + r, head);
        const float* source = at(oFrom, first + r, head);
        const F weights = Simd::set1(weight[r]);
        forVectors<Simd>(headDim, [&](int column, int count) {
          const F x = loadUpTo<Simd>(target + column, count), y = loadUpTo<Simd>(source + column, count);
          storeUpTo<Simd>(target + column, Simd::fma(weights, Simd::sub(y, x), x), count);
        });
      }
    }
  }
}

template <class Simd>
void reduceRows(const View& target, const View& source, std::int32_t tokens, std::int32_t heads, std::int32_t width) {
  for (std::int32_t head = 0; head < heads; ++head) {
    for (std::int32_t token = 0; token < tokens; ++token) {
      float* to = at(target, token, head);
      const float* from = at(source, token, head);
      forVectors<Simd>(width, [&](int column, int count) {
        storeUpTo<Simd>(to + column, Simd::add(loadUpTo<Simd>(to + column, count), loadUpTo<Simd>(from + column, count)), count);
      });
    }
  }
}

}  // namespace hsap
