// The one micro-kernel of all matrix products: an outer-product update of a block of accumulators that stays in registers.
#pragma once

#include <cstddef>
#include <utility>

#include "products/panels.h"

namespace hsap {

// Calls body(0), body(1), ... body(count - 1) as straight code. A loop with a pragma may be unrolled only after GCC has decided
// which arrays can live in registers; there is no loop here to begin with.
template <int count, class Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) { (body(i), ...); }
  (std::make_integer_sequence<int, count>{});
}

// `rows` x `vectors` accumulators, which must be reached by constant indices only, so that they live in registers. Whoever
// computes a tile should not be inlined into a loop over tiles: constants hoisted out of that loop would take registers from it.
template <class Simd, int rows, int vectors>
struct RegisterTile {
  using F = typename Simd::F;
  static constexpr int stride = panelWidth<Simd>;
  F sum[rows][vectors];

  // Calls body(r, n, sum[r][n]) for all accumulators. The body must be marked always_inline, as every one given to unrolled.
  template <class Body>
  [[gnu::always_inline]] void forEach(const Body& body) {
    unrolled<rows * vectors>([&](int i) __attribute__((always_inline)) {
      body(i / vectors, i % vectors, sum[i / vectors][i % vectors]);
    });
  }

  [[gnu::always_inline]] void clear() {
    forEach([](int, int, F& x) __attribute__((always_inline)) { x = Simd::zero(); });
  }

  // sum[r] += a[r * aStride] * b[0 .. vectors)
  template <int aStride>
  [[gnu::always_inline]] void update(const float* a, const float* b) {
    F right[vectors];
    unrolled<vectors>([&](int n) __attribute__((always_inline)) { right[n] = Simd::load(b + n * Simd::width); });
    unrolled<rows>([&](int r) __attribute__((always_inline)) {
      const F left = Simd::set1(a[r * aStride]);
      unrolled<vectors>([&](int n) __attribute__((always_inline)) { Simd::accumulate(sum[r][n], left, right[n]); });
    });
  }

  // Left factor by rows: sum[r] += sum over l < inner of a(r, l) * b(l), where a points to `rows` consecutive rows inside panels
  // that lie aPanelStride floats apart. meanwhile(panel, quarter) is called once for every four steps of each whole panel, so
  // that other work can fill the units that multiply-adds leave idle. Eight steps a round: the loop's own instructions take issue
  // slots from AVX2, which needs three instructions a cycle as it is.
  template <class Meanwhile>
  [[gnu::always_inline]] void addRows(const float* a, std::ptrdiff_t aPanelStride, const float* b, int inner,
                                      const Meanwhile& meanwhile) {
    int panel = 0;
    for (; inner >= stride; inner -= stride, a += aPanelStride, ++panel) {
#pragma GCC unroll 1
      for (int l = 0; l < stride; l += 8, b += 8 * stride) {
        unrolled<8>([&](int i) __attribute__((always_inline)) {
          update<stride>(a + l + i, b + i * stride);
          if (i % 4 == 3) meanwhile(panel, (l + i) / 4);
        });
      }
    }
#pragma GCC unroll 1
    for (int l = 0; l < inner; ++l, b += stride) update<stride>(a + l, b);
  }

  [[gnu::always_inline]] void addRows(const float* a, std::ptrdiff_t aPanelStride, const float* b, int inner) {
    addRows(a, aPanelStride, b, inner, [](int, int) {});
  }

  // Left factor by columns: sum[r] += sum over l < inner of a(l, r) * b(l), where a points to `rows` consecutive columns inside
  // one panel.
  [[gnu::always_inline]] void addColumns(const float* a, const float* b, int inner) {
#pragma GCC unroll 1
    for (; inner >= 4; inner -= 4, a += 4 * stride, b += 4 * stride) {
      update<1>(a, b);
      update<1>(a + stride, b + stride);
      update<1>(a + 2 * stride, b + 2 * stride);
      update<1>(a + 3 * stride, b + 3 * stride);
    }
#pragma GCC unroll 1
    for (; inner > 0; --inner, a += stride, b += stride) update<1>(a, b);
  }
};

// Calls body.template operator()<rows>() with rows = `rows`, which must lie in 1..most.
template <int most, class Body>
[[gnu::always_inline]] inline void withRows(int rows, const Body& body) {
  if constexpr (most > 1) {
    if (rows != most) return withRows<most - 1>(rows, body);
  }
  body.template operator()<most>();
}

}  // namespace hsap
