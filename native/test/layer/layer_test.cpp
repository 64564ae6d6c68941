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
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
    if (const LayerKernels* kernels = layerKernelsFor(isa)) body(*kernels);
  }
}

const Checkpoint never{[](const void*) {}, nullptr};

float rounded(float value) { return toFloat(toBf16(value)); }

// A matrix of rows x (groups * width) with groups that lie apart, as the blocks of the engine.
struct Stored {
  std::int64_t rows, groups, width;
  ElementType type;
  Floats values;
  std::vector<Bf16> halves;  // what bf16 elements are stored as

  Stored(std::int64_t r, std::int64_t g, std::int64_t w, unsigned seed, ElementType t = ElementType::fp32)
      : rows(r), groups(g), width(w), type(t), values(randomFloats(std::size_t(r * g * w), seed)) {
    if (type == ElementType::fp32) return;
    for (const float value : values) halves.push_back(toBf16(value));
    widen();
  }
  Matrix matrix() {
    if (type == ElementType::fp32) return matrixOf(View{values.data(), rows * width, width}, rows, groups, width);
    return matrixOf(Bf16View{halves.data(), rows * width, width}, rows, groups, width);
  }
  // Reads again what is stored.
  void widen() {
    for (std::size_t i = 0; i < halves.size(); ++i) values[i] = toFloat(halves[i]);
  }
  std::size_t place(std::int64_t i, std::int64_t j) const {
    return std::size_t((j / width) * rows * width + i * width + j % width);
  }
  std::int64_t columns() const { return groups * width; }
};

// What a product is of: the types of its factors and of its result.
struct Types {
  ElementType a, b, c;
  bool isBf16() const { return a == ElementType::bf16 || b == ElementType::bf16; }
};

}  // namespace

TEST("products of blocks with column groups agree with float64, whichever factor is transposed and whichever is bf16") {
  constexpr ElementType fp32 = ElementType::fp32, bf16 = ElementType::bf16;
  struct Shape {
    std::int64_t tokens, inGroups, inWidth, outGroups, outWidth;
  };
  const std::vector<Shape> shapes{{1, 1, 1, 1, 1},      {13, 1, 96, 4, 24},   {70, 3, 20, 2, 33},   {257, 8, 64, 1, 300},
                                  {33, 1, 515, 12, 64}, {200, 2, 31, 1, 900}, {600, 1, 1100, 3, 21}};
  for (const Types types : {Types{fp32, fp32, fp32}, Types{bf16, bf16, fp32}, Types{bf16, bf16, bf16}, Types{fp32, bf16, fp32},
                            Types{bf16, fp32, bf16}}) {
    for (const Shape& s : shapes) {
      // The numbers of a factor in rows, as the product takes them.
      const auto numbers = [&](const Stored& of, bool transposed) {
        const std::int64_t rows = transposed ? of.columns() : of.rows, columns = transposed ? of.rows : of.columns();
        Reals found(of.values.size());
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < columns; ++j) {
            const float value = of.values[transposed ? of.place(j, i) : of.place(i, j)];
            found[std::size_t(i * columns + j)] = types.isBf16() ? rounded(value) : value;
          }
        }
        return found;
      };
      // c += a b or c = a b, where a or b may be stored transposed.
      const auto agrees = [&](const char* what, Stored a, bool transposedA, Stored b, bool transposedB, const Stored& start) {
        const std::int64_t depth = transposedA ? a.rows : a.columns(), columns = start.columns();
        const Reals left = numbers(a, transposedA), right = numbers(b, transposedB);
        Reals sums(start.values.size()), expected(sums.size());
        for (std::int64_t i = 0; i < start.rows; ++i) {
          for (std::int64_t l = 0; l < depth; ++l) {
            for (std::int64_t j = 0; j < columns; ++j)
              sums[std::size_t(i * columns + j)] += left[std::size_t(i * depth + l)] * right[std::size_t(l * columns + j)];
          }
          for (std::int64_t j = 0; j < columns; ++j) {
            const std::size_t place = start.place(i, j);
            expected[place] = sums[std::size_t(i * columns + j)] + (start.type == fp32 ? start.values[place] : 0);
          }
        }
        eachIsa([&](const LayerKernels& kernels) {
          Scratch scratch;
          Stored c = start;
          kernels.multiplyAdd(c.matrix(), transposedA ? a.matrix().transposed() : a.matrix(),
                              transposedB ? b.matrix().transposed() : b.matrix(), scratch, never);
          c.widen();
          // An element of bf16 is off by half of its last place at most.
          const double error = relativeError(c.values, expected), allowed = c.type == fp32 ? 1e-6 : 0x1p-8;
          CHECK(error < allowed, isaName(kernels.isa), " ", what, " ", s.tokens, " ", error);
          CHECK(scratch.capacityBytes() <= Scratch::maxBytes);
        });
      };
      const std::int64_t in = s.inGroups * s.inWidth;
      const auto x = [&](ElementType type) { return Stored(s.tokens, s.inGroups, s.inWidth, 1, type); };
      const auto w = [&](ElementType type) { return Stored(in, s.outGroups, s.outWidth, 2, type); };
      const auto y = [&](ElementType type) { return Stored(s.tokens, s.outGroups, s.outWidth, 3, type); };
      agrees("x w", x(types.a), false, w(types.b), false, y(types.c));
      agrees("dy w'", y(types.a), false, w(types.b), true, x(types.c));
      agrees("x' dy", x(types.a), true, y(types.b), false, w(types.c));
    }
  }
}

TEST("parts of a product have the bits of the whole, bf16 too") {
  eachIsa([](const LayerKernels& kernels) {
    for (const ElementType type : {ElementType::fp32, ElementType::bf16}) {
      Scratch scratch;
      Stored x(230, 2, 300, 1, type), w(600, 3, 150, 2, type), whole(230, 3, 150, 3, type), parts = whole;
      const auto multiply = [&](Stored& y, std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) {
        kernels.multiplyAdd(y.matrix().someRows(row, rows).someColumns(column, columns), x.matrix().someRows(row, rows),
                            w.matrix().someColumns(column, columns), scratch, never);
      };
      multiply(whole, 0, 230, 0, 450);
      for (const std::int64_t row : {0, 115}) multiply(parts, row, 115, 0, 288), multiply(parts, row, 115, 288, 162);
      whole.widen(), parts.widen();
      CHECK(whole.values == parts.values, isaName(kernels.isa));
    }
  });
}

TEST("rows become bf16 by rounding to the nearest, ties to even, and come back unchanged") {
  const std::size_t count = 131;
  Floats values = randomFloats(count, 4);
  values[0] = 1 + 0x1p-8f, values[1] = 1 + 0x3p-8f, values[2] = -INFINITY, values[3] = 3.4e38f, values[4] = 0x1p-130f;
  eachIsa([&](const LayerKernels& kernels) {
    std::vector<Bf16> halves(count);
    Floats back(count), kept(count);
    kernels.round(values.data(), halves.data(), std::int64_t(count));
    kernels.widen(halves.data(), back.data(), std::int64_t(count));
    kernels.roundAsFp32(values.data(), kept.data(), std::int64_t(count));
    for (std::size_t i = 0; i < count; ++i)
      CHECK(back[i] == rounded(values[i]) && kept[i] == back[i], isaName(kernels.isa), " ", values[i], " ", back[i]);
    CHECK(back[0] == 1 && back[1] == 1 + 0x1p-6f && back[2] == -INFINITY && back[3] == INFINITY);
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
