#include "check.h"
#include "tile_case.h"

using namespace tile_case;

namespace {

// Merges the partials of one row set in order, and returns the worst errors of o and lse against float64.
struct Errors {
  double o, lse;
};

Errors mergeAll(const Kernels* kernels, std::vector<Tensor>& o, std::vector<Tensor>& lse) {
  const int tokens = o[0].tokens, heads = o[0].heads, headDim = o[0].width;
  Truth oTruth(tokens, heads, headDim), lseTruth(tokens, heads, 1);
  for (int t = 0; t < tokens; ++t) {
    for (int h = 0; h < heads; ++h) {
      double largest = -infinity, sum = 0;
      for (const Tensor& partial : lse) largest = std::max<double>(largest, partial(t, h, 0));
      for (std::size_t i = 0; i < o.size() && largest > -infinity; ++i) {
        const double weight = std::exp(lse[i](t, h, 0) - largest);
        sum += weight;
        for (int c = 0; c < headDim; ++c) oTruth.at(t, h)[c] += weight * o[i](t, h, c);
      }
      for (int c = 0; c < headDim && sum > 0; ++c) oTruth.at(t, h)[c] /= sum;
      *lseTruth.at(t, h) = largest + (sum > 0 ? std::log(sum) : 0);
    }
  }
  Tensor oSum(tokens, heads, headDim, o[0].gap), lseSum(tokens, heads, 1, 0, -infinity);
  for (std::size_t i = 0; i < o.size(); ++i) {
    kernels->merge(oSum.view(), lseSum.view(), o[i].view(), lse[i].view(), tokens, heads, headDim);
  }
  CHECK(oSum.guardsIntact() && lseSum.guardsIntact());
  return {relativeError(oSum, oTruth), relativeError(lseSum, lseTruth)};
}

}  // namespace

TEST("2 to 64 partials merge to what float64 gives") {
  for (const Kernels* kernels : allKernels()) {
    for (const int partials : {2, 3, 8, 17, 64}) {
      for (const int headDim : {1, 64, 80, 100, 128}) {
        std::vector<Tensor> o, lse;
        for (int i = 0; i < partials; ++i) {
          o.push_back(Tensor(19, 3, headDim, 2).randomise(100 + i));
          lse.push_back(Tensor(19, 3, 1, 0).randomise(200 + i, 2));
        }
        const Errors errors = mergeAll(kernels, o, lse);
        CHECK(errors.o <= 1e-6 && errors.lse <= 1e-6, hsap::isaName(kernels->isa), " ", partials, " partials of ", headDim, ": ",
              errors.o, " ", errors.lse);
      }
    }
  }
}

TEST("partials far apart, huge or empty merge without overflow and without NaN") {
  const float values[] = {-infinity, -1e30f, -1000, -88, 0, 5, 88, 1000, 1e30f};
  for (const Kernels* kernels : allKernels()) {
    for (const float a : values) {
      for (const float b : values) {
        std::vector<Tensor> o{Tensor(1, 1, 16).randomise(1), Tensor(1, 1, 16).randomise(2)};
        std::vector<Tensor> lse{Tensor(1, 1, 1, 0, a), Tensor(1, 1, 1, 0, b)};
        // An empty partial's output is zero by definition.
        for (int i = 0; i < 2; ++i) {
          if (lse[i](0, 0, 0) == -infinity) o[i] = Tensor(1, 1, 16);
        }
        const Errors errors = mergeAll(kernels, o, lse);
        CHECK(errors.o <= 1e-6 && errors.lse <= 1e-6, hsap::isaName(kernels->isa), " ", a, " with ", b, ": ", errors.o, " ",
              errors.lse);
      }
    }
  }
}

TEST("two empty partials stay empty") {
  for (const Kernels* kernels : allKernels()) {
    Tensor o(5, 2, 64, 0, 0.0f), lse(5, 2, 1, 0, -infinity), oFrom(5, 2, 64), lseFrom(5, 2, 1, 0, -infinity);
    kernels->merge(o.view(), lse.view(), oFrom.view(), lseFrom.view(), 5, 2, 64);
    for (int h = 0; h < 2; ++h) {
      for (int t = 0; t < 5; ++t) {
        CHECK(lse(t, h, 0) == -infinity);
        for (int c = 0; c < 64; ++c) CHECK(o(t, h, c) == 0);
      }
    }
  }
}

TEST("reduce adds every element and touches nothing else") {
  for (const Kernels* kernels : allKernels()) {
    for (const int width : {1, 7, 16, 64, 100}) {
      Tensor target = Tensor(7, 3, width, 5).randomise(1), source = Tensor(7, 3, width, 2).randomise(2);
      const Tensor before = target;
      kernels->reduce(target.view(), source.view(), 7, 3, width);
      for (int h = 0; h < 3; ++h) {
        for (int t = 0; t < 7; ++t) {
          for (int c = 0; c < width; ++c) CHECK(target(t, h, c) == before(t, h, c) + source(t, h, c));
        }
      }
      CHECK(target.guardsIntact());
    }
  }
}
