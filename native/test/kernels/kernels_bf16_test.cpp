#include <algorithm>

#include "check.h"
#include "tile_case.h"

using namespace tile_case;

namespace {

// Where bf16 inputs are widened, products and probabilities stay fp32. Dot products of bf16 pairs also take the probabilities as
// bf16, whose rounding of 2^-9 is then the error of a weighted value.
double forwardTolerance(const Kernels* kernels) { return kernels->isa == Isa::avx512bf16 ? 4e-3 : 1e-6; }

std::vector<Shape> bf16Shapes() {
  std::vector<Shape> list = shapes();
  for (Shape& shape : list) shape.bf16 = true;
  return list;
}

}  // namespace

TEST("bf16 rounds to the nearest, ties to even, and keeps infinities and NaN") {
  const auto rounded = [](float x) { return hsap::toFloat(hsap::toBf16(x)); };
  CHECK(rounded(1.0f) == 1.0f && rounded(-2.5f) == -2.5f && rounded(infinity) == infinity && rounded(-infinity) == -infinity);
  CHECK(rounded(1.0f + 0x1p-8f) == 1.0f && rounded(1.0f + 0x1.8p-7f) == 1.0f + 0x1p-6f);
  CHECK(rounded(1.0f + 0x1.02p-8f) == 1.0f + 0x1p-7f);
  CHECK(rounded(3.4e38f) == infinity);
  CHECK(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
}

TEST("forward on bf16 inputs agrees with float64 on every shape") {
  for (const Shape& shape : bf16Shapes()) {
    TileCase tileCase(shape);
    const TileCase::Bf16Inputs inputs(tileCase);
    for (const Kernels* kernels : allKernels()) {
      Tensor o(shape.qTokens, shape.heads, shape.headDim, shape.gap), lse(shape.qTokens, shape.heads, 1, shape.gap, -infinity);
      Tile tile = tileCase.tile();
      tile.o = o.view(), tile.lse = lse.view();
      const hsap::Bf16Tile bf16 = inputs.tile(tile);
      hsap::Scratch scratch;
      kernels->forwardBf16(&bf16, 1, scratch);
      const double oError = relativeError(o, tileCase.o), lseError_ = lseError(lse, tileCase.lse);
      CHECK(oError <= forwardTolerance(kernels) && lseError_ <= 2e-6, hsap::isaName(kernels->isa), " ", shape.name(), " o ",
            oError, " lse ", lseError_);
      CHECK(o.guardsIntact() && lse.guardsIntact() && scratch.capacityBytes() <= hsap::Scratch::maxBytes,
            hsap::isaName(kernels->isa));
    }
  }
}

TEST("backward on bf16 inputs agrees with float64 on every shape") {
  for (const Shape& shape : bf16Shapes()) {
    TileCase tileCase(shape);
    const TileCase::Bf16Inputs inputs(tileCase);
    for (const Kernels* kernels : allKernels()) {
      Tensor dq(shape.qTokens, shape.heads, shape.headDim, shape.gap),
          dk(shape.kTokens, shape.kvHeads(), shape.headDim, shape.gap),
          dv(shape.kTokens, shape.kvHeads(), shape.headDim, shape.gap);
      Tile tile = tileCase.tile();
      tile.dq = dq.view(), tile.dk = dk.view(), tile.dv = dv.view();
      const hsap::Bf16Tile bf16 = inputs.tile(tile);
      hsap::Scratch scratch;
      kernels->backwardBf16(&bf16, 1, scratch);
      const double worst =
          std::max({relativeError(dq, tileCase.dq), relativeError(dk, tileCase.dk), relativeError(dv, tileCase.dv)});
      CHECK(worst <= 3e-6, hsap::isaName(kernels->isa), " ", shape.name(), " ", worst);
      CHECK(dq.guardsIntact() && dk.guardsIntact() && dv.guardsIntact(), hsap::isaName(kernels->isa), " ", shape.name());
    }
  }
}

TEST("several bf16 tiles merge into one partial") {
  const Shape whole{.qTokens = 65,
                    .kTokens = 129,
                    .heads = 2,
                    .headDim = 80,
                    .groupSize = 2,
                    .mask = Mask::causal,
                    .causalOffset = 64,
                    .bf16 = true};
  TileCase tileCase(whole);
  const TileCase::Bf16Inputs inputs(tileCase);
  for (const Kernels* kernels : allKernels()) {
    const int cuts[] = {0, 16, 33, 100, 128, 129};
    Tensor o(65, 2, 80), lse(65, 2, 1, 0, -infinity);
    std::vector<hsap::Bf16Tile> tiles;
    for (int i = 0; i < 5; ++i) {
      Tile tile = tileCase.tile();
      tile.o = o.view(), tile.lse = lse.view();
      tile.kTokens = cuts[i + 1] - cuts[i];
      tile.causalOffset = whole.causalOffset - cuts[i];
      hsap::Bf16Tile bf16 = inputs.tile(tile);
      bf16.k.data += cuts[i] * bf16.k.tokenStride, bf16.v.data += cuts[i] * bf16.v.tokenStride;
      tiles.push_back(bf16);
    }
    hsap::Scratch scratch;
    kernels->forwardBf16(tiles.data(), tiles.size(), scratch);
    CHECK(relativeError(o, tileCase.o) <= forwardTolerance(kernels) && lseError(lse, tileCase.lse) <= 2e-6,
          hsap::isaName(kernels->isa), " ", relativeError(o, tileCase.o), " ", lseError(lse, tileCase.lse));
  }
}

TEST("large logits on bf16 inputs neither overflow nor give NaN") {
  for (const float logits : {100.0f, 1e10f, 1e30f}) {
    TileCase tileCase({.qTokens = 33, .kTokens = 65, .heads = 1, .headDim = 64, .logits = logits, .bf16 = true});
    const TileCase::Bf16Inputs inputs(tileCase);
    for (const Kernels* kernels : allKernels()) {
      Tensor o(33, 1, 64), lse(33, 1, 1, 0, -infinity);
      Tile tile = tileCase.tile();
      tile.o = o.view(), tile.lse = lse.view();
      const hsap::Bf16Tile bf16 = inputs.tile(tile);
      hsap::Scratch scratch;
      kernels->forwardBf16(&bf16, 1, scratch);
      CHECK(lseError(lse, tileCase.lse) <= 2e-6, hsap::isaName(kernels->isa), " logits ", logits, " ",
            lseError(lse, tileCase.lse));
      CHECK(std::isfinite(relativeError(o, tileCase.o)), hsap::isaName(kernels->isa), " logits ", logits);
    }
  }
}
