#include <algorithm>

#include "check.h"
#include "hsap/reference.h"
#include "tile_case.h"

using namespace tile_case;

namespace {

constexpr double tolerance = 1e-6;

struct Output {
  Tensor o, lse;
  explicit Output(const Shape& s) : o(s.qTokens, s.heads, s.headDim, s.gap), lse(s.qTokens, s.heads, 1, s.gap, -infinity) {}
};

Output runForward(const Kernels* kernels, TileCase& tileCase) {
  Output out(tileCase.shape);
  Tile tile = tileCase.tile();
  tile.o = out.o.view();
  tile.lse = out.lse.view();
  hsap::Scratch scratch;
  kernels->forward(&tile, 1, scratch);
  CHECK(scratch.capacityBytes() <= hsap::Scratch::maxBytes);
  return out;
}

void expectForward(const Shape& shape, double limit = tolerance) {
  TileCase tileCase(shape);
  for (const Kernels* kernels : allKernels()) {
    const Output out = runForward(kernels, tileCase);
    const double oError = relativeError(out.o, tileCase.o), lse = lseError(out.lse, tileCase.lse);
    CHECK(oError <= limit, hsap::isaName(kernels->isa), " ", shape.name(), " o error ", oError);
    CHECK(lse <= limit, hsap::isaName(kernels->isa), " ", shape.name(), " lse error ", lse);
    CHECK(out.o.guardsIntact() && out.lse.guardsIntact(), hsap::isaName(kernels->isa), " ", shape.name());
  }
}

}  // namespace

TEST("forward agrees with float64 on every shape") {
  for (const Shape& shape : shapes()) expectForward(shape);
}

TEST("forward agrees with float64 for head dimensions too large to be packed") {
  for (const int headDim : {600, 1024, 1100}) {
    expectForward(
        {.qTokens = 13, .kTokens = 70, .heads = 2, .headDim = headDim, .groupSize = 2, .mask = Mask::causal, .causalOffset = 40});
  }
}

TEST("rows that see no key are left as they were") {
  TileCase tileCase({.qTokens = 40, .kTokens = 20, .heads = 2, .headDim = 64, .mask = Mask::causal, .causalOffset = -25});
  for (const Kernels* kernels : allKernels()) {
    Output out(tileCase.shape);
    for (int t = 0; t < 40; ++t) out.o(t, 1, 5) = static_cast<float>(t), out.lse(t, 1, 0) = t % 2 ? -infinity : 3.0f;
    const std::vector<float> o = out.o.data, lse = out.lse.data;
    Tile tile = tileCase.tile();
    tile.o = out.o.view(), tile.lse = out.lse.view();
    hsap::Scratch scratch;
    kernels->forward(&tile, 1, scratch);
    for (int h = 0; h < 2; ++h) {
      for (int t = 0; t < 25; ++t) {
        const std::size_t row = static_cast<std::size_t>(h) * 40 + t;
        for (int c = 0; c < 64; ++c) CHECK(out.o.data[row * 64 + c] == o[row * 64 + c], "token ", t, " head ", h);
        CHECK(out.lse.data[row] == lse[row], "token ", t, " head ", h);
      }
    }
  }
}

TEST("a second tile merges exactly into the partial that the first one left") {
  // One problem of 129 keys, cut anywhere: the tiles come one after the other, or in several calls.
  const Shape whole{
      .qTokens = 65, .kTokens = 129, .heads = 2, .headDim = 80, .groupSize = 2, .mask = Mask::causal, .causalOffset = 64};
  TileCase tileCase(whole);
  for (const Kernels* kernels : allKernels()) {
    for (const bool oneCall : {true, false}) {
      for (const std::vector<int>& cuts : {std::vector<int>{0, 1, 129}, {0, 64, 129}, {0, 16, 33, 100, 128, 129}}) {
        Output out(whole);
        std::vector<Tile> tiles;
        for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
          Tile tile = tileCase.tile();
          tile.o = out.o.view(), tile.lse = out.lse.view();
          tile.k = tileCase.k.view(cuts[i]), tile.v = tileCase.v.view(cuts[i]);
          tile.kTokens = cuts[i + 1] - cuts[i];
          tile.causalOffset = whole.causalOffset - cuts[i];
          tiles.push_back(tile);
        }
        hsap::Scratch scratch;
        if (oneCall) {
          kernels->forward(tiles.data(), tiles.size(), scratch);
        } else {
          for (std::size_t i = tiles.size(); i-- > 0;) kernels->forward(&tiles[i], 1, scratch);
        }
        const double oError = relativeError(out.o, tileCase.o), lse = lseError(out.lse, tileCase.lse);
        CHECK(oError <= tolerance && lse <= tolerance, hsap::isaName(kernels->isa), " ", cuts.size(), " cuts, o ", oError,
              " lse ", lse);
      }
    }
  }
}

TEST("hundreds of merges into one partial do not drift") {
  // Striped sharding merges one short tile after another into the same rows, each in a call of its own. Every merge rounds lse to
  // fp32 once more, so errors grow with the square root of their number, and must not grow faster.
  const Shape whole{.qTokens = 15, .kTokens = 256, .heads = 1, .headDim = 64};
  TileCase tileCase(whole);
  for (const Kernels* kernels : allKernels()) {
    Output out(whole);
    hsap::Scratch scratch;
    for (int key = 0; key < whole.kTokens; ++key) {
      Tile tile = tileCase.tile();
      tile.o = out.o.view(), tile.lse = out.lse.view();
      tile.k = tileCase.k.view(key), tile.v = tileCase.v.view(key);
      tile.kTokens = 1;
      kernels->forward(&tile, 1, scratch);
    }
    const double oError = relativeError(out.o, tileCase.o), lse = lseError(out.lse, tileCase.lse);
    CHECK(oError <= 2 * tolerance && lse <= tolerance, hsap::isaName(kernels->isa), " o ", oError, " lse ", lse);
  }
}

TEST("large logits neither overflow nor lose the sum") {
  // Scores are rounded to fp32, so their absolute error, and with it the error of the weights, grows with them.
  for (const float logits : {10.0f, 100.0f, 1e4f, 1e10f}) {
    TileCase tileCase({.qTokens = 33, .kTokens = 65, .heads = 1, .headDim = 64, .logits = logits});
    for (const Kernels* kernels : allKernels()) {
      const Output out = runForward(kernels, tileCase);
      CHECK(lseError(out.lse, tileCase.lse) <= tolerance, hsap::isaName(kernels->isa), " logits ", logits);
      CHECK(relativeError(out.o, tileCase.o) <= tolerance * logits, hsap::isaName(kernels->isa), " logits ", logits, " ",
            relativeError(out.o, tileCase.o));
    }
  }
}

TEST("the same tiles give the same bits, whatever scratch was used for before") {
  TileCase tileCase(
      {.qTokens = 129, .kTokens = 300, .heads = 4, .headDim = 100, .groupSize = 4, .mask = Mask::causal, .causalOffset = 171});
  for (const Kernels* kernels : allKernels()) {
    const Output first = runForward(kernels, tileCase);
    hsap::Scratch scratch;
    float* memory = static_cast<float*>(scratch.reserve(hsap::Scratch::maxBytes));
    std::fill(memory, memory + hsap::Scratch::maxBytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
    Output second(tileCase.shape);
    Tile tile = tileCase.tile();
    tile.o = second.o.view(), tile.lse = second.lse.view();
    kernels->forward(&tile, 1, scratch);
    CHECK(first.o.data == second.o.data && first.lse.data == second.lse.data, hsap::isaName(kernels->isa));
  }
}

TEST("a pack of documents, one tile each, agrees with the float64 reference") {
  const std::vector<std::int32_t> cuSeqlens{0, 1, 8, 23, 40, 103, 168, 295, 424, 430, 700};
  const int tokens = cuSeqlens.back(), heads = 8, kvHeads = 2, headDim = 64;
  Tensor q(tokens, heads, headDim), k(tokens, kvHeads, headDim), v(tokens, kvHeads, headDim);
  q.randomise(1), k.randomise(2), v.randomise(3);
  for (const bool causal : {true, false}) {
    std::vector<double> oTruth(static_cast<std::size_t>(tokens) * heads * headDim),
        lseTruth(static_cast<std::size_t>(tokens) * heads);
    forward(hsap::reference::Problem{heads, kvHeads, headDim, cuSeqlens.data(), cuSeqlens.size() - 1, causal}, q.data.data(),
            k.data.data(), v.data.data(), oTruth.data(), lseTruth.data(), 2);
    for (const Kernels* kernels : allKernels()) {
      Tensor o(tokens, heads, headDim), lse(tokens, heads, 1, 0, -infinity);
      std::vector<Tile> tiles;
      for (std::size_t d = 0; d + 1 < cuSeqlens.size(); ++d) {
        Tile tile;
        tile.q = q.view(cuSeqlens[d]), tile.k = k.view(cuSeqlens[d]), tile.v = v.view(cuSeqlens[d]);
        tile.o = o.view(cuSeqlens[d]), tile.lse = lse.view(cuSeqlens[d]);
        tile.qTokens = tile.kTokens = cuSeqlens[d + 1] - cuSeqlens[d];
        tile.heads = heads, tile.headDim = headDim, tile.groupSize = heads / kvHeads;
        tile.mask = causal ? Mask::causal : Mask::full;
        tiles.push_back(tile);
      }
      hsap::Scratch scratch;
      kernels->forward(tiles.data(), tiles.size(), scratch);
      double error = 0, size = 0;
      for (std::size_t i = 0; i < oTruth.size(); ++i) error += std::pow(o.data[i] - oTruth[i], 2), size += std::pow(oTruth[i], 2);
      CHECK(std::sqrt(error / size) <= tolerance, hsap::isaName(kernels->isa), " ", std::sqrt(error / size));
      for (std::size_t i = 0; i < lseTruth.size(); ++i) CHECK(std::abs(lse.data[i] - lseTruth[i]) <= 2e-6, "row ", i);
    }
  }
}
