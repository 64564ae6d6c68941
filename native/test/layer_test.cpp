// The kernels of a layer against float64, and their gradients against finite differences of the float64 forward functions.
#include "hsap/layer.h"

#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "check.h"
#include "hsap/scratch.h"

using namespace hsap;

namespace {

using Reals = std::vector<double>;
using Floats = std::vector<float>;

Floats randomFloats(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

Reals widened(const Floats& values) { return Reals(values.begin(), values.end()); }

double relativeError(const Floats& actual, const Reals& expected) {
  double wrong = 0, all = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    wrong += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    all += expected[i] * expected[i];
  }
  return std::sqrt(wrong / all);
}

// d sum(weights * forward(x)) / dx by central differences.
Reals differences(const std::function<Reals(const Reals&)>& forward, const Reals& x, const Reals& weights) {
  const auto value = [&](const Reals& at) {
    const Reals y = forward(at);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  Reals gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    constexpr double step = 1e-5;
    Reals moved = x;
    moved[i] = x[i] + step;
    const double above = value(moved);
    moved[i] = x[i] - step;
    gradient[i] = (above - value(moved)) / (2 * step);
  }
  return gradient;
}

void eachIsa(const std::function<void(const LayerKernels&)>& body) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (const LayerKernels* kernels = layerKernelsFor(isa)) body(*kernels);
  }
}

const Checkpoint never{[](const void*) {}, nullptr};

// A matrix of rows x (groups * width) with groups that lie apart, as the blocks of the engine.
struct Stored {
  std::int64_t rows, groups, width;
  Floats values;

  Stored(std::int64_t r, std::int64_t g, std::int64_t w, unsigned seed)
      : rows(r), groups(g), width(w), values(randomFloats(std::size_t(r * g * w), seed)) {}
  Matrix matrix() { return matrixOf({values.data(), rows * width, width}, rows, groups, width); }
  double at(std::int64_t i, std::int64_t j) const {
    return values[std::size_t((j / width) * rows * width + i * width + j % width)];
  }
  std::int64_t columns() const { return groups * width; }
};

}  // namespace

TEST("products of blocks with column groups agree with float64, whichever factor is transposed") {
  eachIsa([](const LayerKernels& kernels) {
    struct Shape {
      std::int64_t tokens, inGroups, inWidth, outGroups, outWidth;
    };
    for (const Shape& s : {Shape{1, 1, 1, 1, 1}, Shape{13, 1, 96, 4, 24}, Shape{70, 3, 20, 2, 33}, Shape{257, 8, 64, 1, 300},
                           Shape{33, 1, 515, 12, 64}, Shape{200, 2, 31, 1, 900}}) {
      Scratch scratch;
      Stored x(s.tokens, s.inGroups, s.inWidth, 1), w(s.inGroups * s.inWidth, s.outGroups, s.outWidth, 2);
      Stored y(s.tokens, s.outGroups, s.outWidth, 3), dx(s.tokens, s.inGroups, s.inWidth, 4);
      Stored dw(w.rows, s.outGroups, s.outWidth, 5), dy(s.tokens, s.outGroups, s.outWidth, 6);
      const auto expect = [&](const char* what, Stored& c, std::int64_t depth, const auto& a, const auto& b, Matrix left,
                              Matrix right) {
        Stored expected = c;
        Reals sums(c.values.size());
        for (std::int64_t i = 0; i < c.rows; ++i) {
          for (std::int64_t j = 0; j < c.columns(); ++j) {
            double sum = c.at(i, j);
            for (std::int64_t l = 0; l < depth; ++l) sum += a(i, l) * b(l, j);
            sums[std::size_t((j / c.width) * c.rows * c.width + i * c.width + j % c.width)] = sum;
          }
        }
        kernels.multiplyAdd(c.matrix(), left, right, scratch, never);
        CHECK(relativeError(c.values, sums) < 1e-6, isaName(kernels.isa), " ", what, " ", s.tokens, " ",
              relativeError(c.values, sums));
      };
      expect(
          "x w", y, x.columns(), [&](auto i, auto l) { return x.at(i, l); }, [&](auto l, auto j) { return w.at(l, j); },
          x.matrix(), w.matrix());
      expect(
          "dy w'", dx, dy.columns(), [&](auto i, auto l) { return dy.at(i, l); }, [&](auto l, auto j) { return w.at(j, l); },
          dy.matrix(), w.matrix().transposed());
      expect(
          "x' dy", dw, s.tokens, [&](auto i, auto l) { return x.at(l, i); }, [&](auto l, auto j) { return dy.at(l, j); },
          x.matrix().transposed(), dy.matrix());
    }
  });
}

TEST("a norm and its gradient agree with float64") {
  for (const std::size_t columns : {1ul, 7ul, 64ul, 1100ul}) {
    const Floats x = randomFloats(columns, 1), g = randomFloats(columns, 2), dn = randomFloats(columns, 3);
    const auto norm = [&](const Reals& of, const Reals& gains) {
      double squares = 0;
      for (const double value : of) squares += value * value;
      const double r = 1 / std::sqrt(squares / double(columns) + 1e-5);
      Reals n(columns);
      for (std::size_t i = 0; i < columns; ++i) n[i] = of[i] * r * gains[i];
      return n;
    };
    const Reals expected = norm(widened(x), widened(g));
    const Reals dx = differences([&](const Reals& at) { return norm(at, widened(g)); }, widened(x), widened(dn));
    const Reals dg = differences([&](const Reals& at) { return norm(widened(x), at); }, widened(g), widened(dn));
    eachIsa([&](const LayerKernels& kernels) {
      Floats n(columns), ownDx(columns);
      Reals ownDg(columns);
      kernels.rmsNorm(x.data(), g.data(), n.data(), std::int64_t(columns), 1e-5f);
      kernels.rmsNormGradient(x.data(), g.data(), dn.data(), ownDx.data(), ownDg.data(), std::int64_t(columns), 1e-5f);
      CHECK(relativeError(n, expected) < 1e-6, isaName(kernels.isa), " ", columns);
      // With one column the gradient is nearly nothing: the norm takes the length away.
      if (columns > 1) CHECK(relativeError(ownDx, dx) < 1e-5, isaName(kernels.isa), " ", columns, " ", relativeError(ownDx, dx));
      CHECK(relativeError(Floats(ownDg.begin(), ownDg.end()), dg) < 1e-6, isaName(kernels.isa), " ", columns);
    });
  }
}

TEST("pairs are turned by their angles and back") {
  for (const std::size_t half : {1ul, 8ul, 24ul, 33ul}) {
    const Floats x = randomFloats(2 * half, 1);
    Floats cosines(half), sines(half), back(half);
    Reals expected(2 * half);
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = 0.3 * double(i) + 0.1;
      cosines[i] = float(std::cos(angle)), sines[i] = float(std::sin(angle)), back[i] = -sines[i];
      expected[i] = x[i] * double(cosines[i]) - x[half + i] * double(sines[i]);
      expected[half + i] = x[half + i] * double(cosines[i]) + x[i] * double(sines[i]);
    }
    eachIsa([&](const LayerKernels& kernels) {
      Floats y(2 * half), again(2 * half);
      kernels.turn(x.data(), y.data(), cosines.data(), sines.data(), std::int64_t(half));
      kernels.turn(y.data(), again.data(), cosines.data(), back.data(), std::int64_t(half));
      CHECK(relativeError(y, expected) < 1e-6, isaName(kernels.isa));
      CHECK(relativeError(again, widened(x)) < 1e-6, isaName(kernels.isa));
    });
  }
}

TEST("the activation and its gradient agree with float64, far from zero too") {
  const std::size_t count = 131;
  Floats gate = randomFloats(count, 1);
  const Floats up = randomFloats(count, 2), dm = randomFloats(count, 3);
  gate[0] = 90, gate[1] = -90, gate[2] = 0, gate[3] = -20;
  const auto activate = [&](const Reals& at, const Reals& by) {
    Reals m(count);
    for (std::size_t i = 0; i < count; ++i) m[i] = at[i] / (1 + std::exp(-at[i])) * by[i];
    return m;
  };
  const Reals expected = activate(widened(gate), widened(up));
  const Reals dgate = differences([&](const Reals& at) { return activate(at, widened(up)); }, widened(gate), widened(dm));
  const Reals dup = differences([&](const Reals& at) { return activate(widened(gate), at); }, widened(up), widened(dm));
  eachIsa([&](const LayerKernels& kernels) {
    Floats m(count), ownGate(count), ownUp(count);
    kernels.swiglu(gate.data(), up.data(), m.data(), std::int64_t(count));
    kernels.swigluGradient(gate.data(), up.data(), dm.data(), ownGate.data(), ownUp.data(), std::int64_t(count));
    CHECK(relativeError(m, expected) < 1e-6, isaName(kernels.isa));
    CHECK(relativeError(ownGate, dgate) < 1e-6, isaName(kernels.isa), " ", relativeError(ownGate, dgate));
    CHECK(relativeError(ownUp, dup) < 1e-6, isaName(kernels.isa), " ", relativeError(ownUp, dup));
  });
}

TEST("the loss and its gradient agree with float64, and a weight of 0 masks a row") {
  for (const std::size_t classes : {1ul, 5ul, 64ul, 2500ul}) {
    const Floats logits = randomFloats(classes, 7);
    const std::size_t label = classes / 2;
    const auto loss = [&](const Reals& at) {
      double sum = 0;
      for (const double value : at) sum += std::exp(value);
      return Reals{0.25 * (std::log(sum) - at[label])};
    };
    const Reals gradient = differences(loss, widened(logits), {1.0});
    eachIsa([&](const LayerKernels& kernels) {
      Floats dlogits(classes), room(classes);
      const float own =
          kernels.crossEntropy(logits.data(), dlogits.data(), room.data(), std::int64_t(classes), std::int64_t(label), 0.25f);
      CHECK(std::abs(own - loss(widened(logits))[0]) < 1e-6, isaName(kernels.isa), " ", classes);
      if (classes > 1)
        CHECK(relativeError(dlogits, gradient) < 1e-5, isaName(kernels.isa), " ", relativeError(dlogits, gradient));
      Floats masked(classes);
      CHECK(kernels.crossEntropy(logits.data(), masked.data(), room.data(), std::int64_t(classes), 0, 0) == 0);
      CHECK(masked == Floats(classes));
    });
  }
}

TEST("AdamW moves weights as in float64") {
  const std::size_t count = 37;
  const Floats start = randomFloats(count, 1), g = randomFloats(count, 2);
  eachIsa([&](const LayerKernels& kernels) {
    Floats w = start, m(count), v(count);
    Reals expected = widened(start), first(count), second(count);
    for (std::int64_t step = 1; step <= 3; ++step) {
      const AdamW options{1e-2, 0.9, 0.95, 1e-8, 0.1, step};
      kernels.adamW(w.data(), g.data(), m.data(), v.data(), std::int64_t(count), options);
      for (std::size_t i = 0; i < count; ++i) {
        first[i] = 0.9 * first[i] + 0.1 * g[i];
        second[i] = 0.95 * second[i] + 0.05 * double(g[i]) * g[i];
        const double hat = first[i] / (1 - std::pow(0.9, step)), scale = std::sqrt(second[i] / (1 - std::pow(0.95, step)));
        expected[i] -= 1e-2 * (hat / (scale + 1e-8) + 0.1 * expected[i]);
      }
    }
    CHECK(relativeError(w, expected) < 1e-6, isaName(kernels.isa), " ", relativeError(w, expected));
  });
}
