// The ops of a layer that work on one row, or element by element.
#pragma once

#include <cmath>
#include <cstdint>

#include "hsap/layer.h"

namespace hsap {

namespace {  // Each instruction set's file gets copies compiled with its own flags.

constexpr float log2OfE = 0x1.715476p0f, log2OfERest = 0x1.4ae0cp-26f;  // their sum is log2(e) to 2^-50

// Loads and stores of a row's vectors, of which the last may be shorter.
template <class Simd>
struct Lanes {
  using F = typename Simd::F;
  int count;  // Simd::width, or the rest

  F load(const float* p) const { return count == Simd::width ? Simd::load(p) : Simd::loadPartial(p, count); }
  void store(float* p, F x) const { count == Simd::width ? Simd::store(p, x) : Simd::storePartial(p, x, count); }
  void addTo(float* p, F x) const { store(p, Simd::add(load(p), x)); }
};

// Calls body(i, lanes) for each vector of a row.
template <class Simd, class Body>
[[gnu::always_inline]] inline void forLanes(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + Simd::width <= count; i += Simd::width) body(i, Lanes<Simd>{Simd::width});
  if (i < count) body(i, Lanes<Simd>{static_cast<int>(count - i)});
}

// Vectors are added up lane by lane in fp32 for at most 1024 elements, then in fp64.
template <class Simd, class Product>
double sumOf(std::int64_t count, const Product& product) {
  double total = 0;
  for (std::int64_t begin = 0; begin < count; begin += 1024) {
    typename Simd::F sum = Simd::zero();
    forLanes<Simd>(count - begin < 1024 ? count - begin : 1024,
                   [&](std::int64_t i, Lanes<Simd> lanes) { sum = Simd::add(sum, product(begin + i, lanes)); });
    total += Simd::sumLanes(sum);
  }
  return total;
}

template <class Simd>
double dot(const float* a, const float* b, std::int64_t count) {
  return sumOf<Simd>(count, [&](std::int64_t i, Lanes<Simd> lanes) { return Simd::mul(lanes.load(a + i), lanes.load(b + i)); });
}

template <class Simd>
double inverseRoot(const float* x, std::int64_t columns, float epsilon) {
  return 1 / std::sqrt(dot<Simd>(x, x, columns) / static_cast<double>(columns) + epsilon);
}

template <class Simd>
void rmsNorm(const float* x, const float* g, float* n, std::int64_t columns, float epsilon) {
  const auto r = Simd::set1(static_cast<float>(inverseRoot<Simd>(x, columns, epsilon)));
  forLanes<Simd>(columns, [&](std::int64_t i, Lanes<Simd> lanes) {
    lanes.addTo(n + i, Simd::mul(Simd::mul(lanes.load(x + i), r), lanes.load(g + i)));
  });
}

template <class Simd>
void rmsNormGradient(const float* x, const float* g, const float* dn, float* dx, double* dg, std::int64_t columns,
                     float epsilon) {
  const double root = inverseRoot<Simd>(x, columns, epsilon);
  const double mean = sumOf<Simd>(columns,
                                  [&](std::int64_t i, Lanes<Simd> lanes) {
                                    return Simd::mul(Simd::mul(lanes.load(g + i), lanes.load(dn + i)), lanes.load(x + i));
                                  }) *
                      root / static_cast<double>(columns);
  const auto r = Simd::set1(static_cast<float>(root)), back = Simd::set1(static_cast<float>(root * root * mean));
  forLanes<Simd>(columns, [&](std::int64_t i, Lanes<Simd> lanes) {
    const auto direct = Simd::mul(Simd::mul(lanes.load(g + i), lanes.load(dn + i)), r);
    lanes.addTo(dx + i, Simd::fnma(lanes.load(x + i), back, direct));
  });
  for (std::int64_t i = 0; i < columns; ++i) dg[i] += static_cast<double>(dn[i]) * x[i] * root;
}

template <class Simd>
void turn(const float* x, float* y, const float* cosines, const float* sines, std::int64_t half) {
  forLanes<Simd>(half, [&](std::int64_t i, Lanes<Simd> lanes) {
    const auto a = lanes.load(x + i), b = lanes.load(x + half + i), c = lanes.load(cosines + i), s = lanes.load(sines + i);
    lanes.addTo(y + i, Simd::fnma(b, s, Simd::mul(a, c)));
    lanes.addTo(y + half + i, Simd::fma(a, s, Simd::mul(b, c)));
  });
}

// 1 / (1 + exp(-x)); below -43 the exponential is taken at its limit, where the result is 0 in all but name.
template <class Simd>
typename Simd::F sigmoid(typename Simd::F x) {
  using F = typename Simd::F;
  const F bounded = Simd::max(x, Simd::set1(-43.0f));
  const F t = Simd::fma(bounded, Simd::set1(-log2OfERest), Simd::mul(bounded, Simd::set1(-log2OfE)));
  return Simd::div(Simd::set1(1), Simd::add(Simd::set1(1), Simd::exp2(t)));
}

template <class Simd>
void swiglu(const float* gate, const float* up, float* m, std::int64_t count) {
  forLanes<Simd>(count, [&](std::int64_t i, Lanes<Simd> lanes) {
    const auto x = lanes.load(gate + i);
    lanes.addTo(m + i, Simd::mul(Simd::mul(x, sigmoid<Simd>(x)), lanes.load(up + i)));
  });
}

template <class Simd>
void swigluGradient(const float* gate, const float* up, const float* dm, float* dgate, float* dup, std::int64_t count) {
  forLanes<Simd>(count, [&](std::int64_t i, Lanes<Simd> lanes) {
    const auto x = lanes.load(gate + i), s = sigmoid<Simd>(x), d = lanes.load(dm + i), silu = Simd::mul(x, s);
    // d silu = s + x s (1 - s)
    const auto slope = Simd::fma(silu, Simd::sub(Simd::set1(1), s), s);
    lanes.addTo(dup + i, Simd::mul(d, silu));
    lanes.addTo(dgate + i, Simd::mul(Simd::mul(d, lanes.load(up + i)), slope));
  });
}

template <class Simd>
void add(const float* x, float* y, std::int64_t count) {
  forLanes<Simd>(count, [&](std::int64_t i, Lanes<Simd> lanes) { lanes.addTo(y + i, lanes.load(x + i)); });
}

template <class Simd>
float crossEntropy(const float* logits, float* dlogits, float* probabilities, std::int64_t classes, std::int64_t label,
                   float weight) {
  if (weight == 0) return 0;
  float largest = logits[0];
  for (std::int64_t i = 1; i < classes; ++i) largest = logits[i] > largest ? logits[i] : largest;
  const auto shift = Simd::set1(largest);
  const double sum = sumOf<Simd>(classes, [&](std::int64_t i, Lanes<Simd> lanes) {
    const auto x = Simd::sub(lanes.load(logits + i), shift);
    auto p = Simd::exp2(Simd::fma(x, Simd::set1(log2OfERest), Simd::mul(x, Simd::set1(log2OfE))));
    lanes.store(probabilities + i, p);
    return Simd::selectBelow(lanes.count, p, Simd::zero());
  });
  const auto scale = Simd::set1(static_cast<float>(weight / sum));
  forLanes<Simd>(classes, [&](std::int64_t i, Lanes<Simd> lanes) {
    lanes.addTo(dlogits + i, Simd::mul(lanes.load(probabilities + i), scale));
  });
  dlogits[label] -= weight;
  return static_cast<float>(weight * (std::log(sum) + largest - logits[label]));
}

template <class Simd>
double logSumExp(const float* x, std::int64_t count) {
  float largest = x[0];
  for (std::int64_t i = 1; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  const auto shift = Simd::set1(largest);
  const double sum = sumOf<Simd>(count, [&](std::int64_t i, Lanes<Simd> lanes) {
    const auto y = Simd::sub(lanes.load(x + i), shift);
    const auto p = Simd::exp2(Simd::fma(y, Simd::set1(log2OfERest), Simd::mul(y, Simd::set1(log2OfE))));
    return Simd::selectBelow(lanes.count, p, Simd::zero());
  });
  return std::log(sum) + largest;
}

template <class Simd>
float crossEntropyShare(const float* logits, float* dlogits, std::int64_t count, double logSumExp, std::int64_t label,
                        float weight) {
  const auto rounded = static_cast<float>(logSumExp);
  const auto shift = Simd::set1(rounded), scale = Simd::set1(static_cast<float>(weight * std::exp(rounded - logSumExp)));
  forLanes<Simd>(count, [&](std::int64_t i, Lanes<Simd> lanes) {
    const auto y = Simd::sub(lanes.load(logits + i), shift);
    const auto p = Simd::exp2(Simd::fma(y, Simd::set1(log2OfERest), Simd::mul(y, Simd::set1(log2OfE))));
    lanes.addTo(dlogits + i, Simd::mul(p, scale));
  });
  if (label < 0) return 0;
  dlogits[label] -= weight;
  return -weight * logits[label];
}

template <class Simd>
void adamW(float* w, const float* g, float* m, float* v, std::int64_t count, const AdamW& step) {
  const double firstCorrection = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double secondCorrection = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  const auto keep = static_cast<float>(1 - step.learningRate * step.weightDecay);
  const auto rate = static_cast<float>(step.learningRate / firstCorrection);
  const auto second = static_cast<float>(1 / secondCorrection);
  const auto beta1 = static_cast<float>(step.beta1), beta2 = static_cast<float>(step.beta2);
  const auto epsilon = static_cast<float>(step.epsilon);
  for (std::int64_t i = 0; i < count; ++i) {
    m[i] = beta1 * m[i] + (1 - beta1) * g[i];
    v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
    w[i] = keep * w[i] - rate * m[i] / (std::sqrt(v[i] * second) + epsilon);
  }
}

}  // namespace

}  // namespace hsap
