#include <algorithm>

#include "check.h"
#include "hsap/reference.h"
#include "tile_case.h"

using namespace tile_case;

namespace {

constexpr double tolerance = 3e-6;

struct Gradients {
  Tensor dq, dk, dv;
  explicit Gradients(const Shape& s)
      : dq(s.qTokens, s.heads, s.headDim, s.gap),
        dk(s.kTokens, s.kvHeads(), s.headDim, s.gap),
        dv(s.kTokens, s.kvHeads(), s.headDim, s.gap) {}
  void attach(Tile& tile) { tile.dq = dq.view(), tile.dk = dk.view(), tile.dv = dv.view(); }
};

Gradients runBackward(const Kernels* kernels, TileCase& tileCase) {
  Gradients out(tileCase.shape);
  Tile tile = tileCase.tile();
  out.attach(tile);
  hsap::Scratch scratch;
  kernels->backward(&tile, 1, scratch);
  CHECK(scratch.capacityBytes() <= hsap::Scratch::maxBytes);
  return out;
}

void expectBackward(const Shape& shape) {
  TileCase tileCase(shape);
  for (const Kernels* kernels : allKernels()) {
    const Gradients out = runBackward(kernels, tileCase);
    const double dq = relativeError(out.dq, tileCase.dq), dk = relativeError(out.dk, tileCase.dk),
                 dv = relativeError(out.dv, tileCase.dv);
    CHECK(dq <= tolerance && dk <= tolerance && dv <= tolerance, hsap::isaName(kernels->isa), " ", shape.name(), " dq ", dq,
          " dk ", dk, " dv ", dv);
    CHECK(out.dq.guardsIntact() && out.dk.guardsIntact() && out.dv.guardsIntact(), hsap::isaName(kernels->isa), " ",
          shape.name());
  }
}

}  // namespace

TEST("backward agrees with float64 on every shape") {
  for (const Shape& shape : shapes()) expectBackward(shape);
}

TEST("backward agrees with float64 for head dimensions too large to be packed") {
  for (const int headDim : {500, 512, 700}) {
    expectBackward(
        {.qTokens = 13, .kTokens = 70, .heads = 2, .headDim = headDim, .groupSize = 2, .mask = Mask::causal, .causalOffset = 40});
  }
}

TEST("gradients are added to what was there, tile after tile") {
  const Shape whole{
      .qTokens = 65, .kTokens = 129, .heads = 2, .headDim = 80, .groupSize = 2, .mask = Mask::causal, .causalOffset = 64};
  TileCase tileCase(whole);
  for (const Kernels* kernels : allKernels()) {
    const int cuts[] = {0, 16, 33, 100, 128, 129};
    Gradients out(whole);
    out.dq(3, 1, 2) = 1000, out.dk(5, 0, 7) = 2000, out.dv(128, 0, 79) = 4000;
    std::vector<Tile> tiles;
    for (int i = 0; i < 5; ++i) {
      Tile tile = tileCase.tile();
      out.attach(tile);
      tile.k = tileCase.k.view(cuts[i]), tile.v = tileCase.v.view(cuts[i]);
      tile.dk = out.dk.view(cuts[i]), tile.dv = out.dv.view(cuts[i]);
      tile.kTokens = cuts[i + 1] - cuts[i];
      tile.causalOffset = whole.causalOffset - cuts[i];
      tiles.push_back(tile);
    }
    hsap::Scratch scratch;
    kernels->backward(tiles.data(), tiles.size(), scratch);
    CHECK(std::abs(out.dq(3, 1, 2) - 1000 - tileCase.dq.at(3, 1)[2]) < 1e-3);
    CHECK(std::abs(out.dk(5, 0, 7) - 2000 - tileCase.dk.at(5, 0)[7]) < 1e-3);
    CHECK(std::abs(out.dv(128, 0, 79) - 4000 - tileCase.dv.at(128, 0)[79]) < 1e-3);
    out.dq(3, 1, 2) = static_cast<float>(tileCase.dq.at(3, 1)[2]);
    out.dk(5, 0, 7) = static_cast<float>(tileCase.dk.at(5, 0)[7]);
    out.dv(128, 0, 79) = static_cast<float>(tileCase.dv.at(128, 0)[79]);
    const double dq = relativeError(out.dq, tileCase.dq), dk = relativeError(out.dk, tileCase.dk),
                 dv = relativeError(out.dv, tileCase.dv);
    CHECK(dq <= tolerance && dk <= tolerance && dv <= tolerance, hsap::isaName(kernels->isa), " dq ", dq, " dk ", dk, " dv ", dv);
  }
}

TEST("rows that never saw a key contribute nothing, not even NaN") {
  // Another tile's keys may be all that such a row sees here: lse = -inf says that forward gave it none.
  TileCase tileCase({.qTokens = 20, .kTokens = 40, .heads = 2, .headDim = 64});
  TileCase silent({.qTokens = 20, .kTokens = 40, .heads = 2, .headDim = 64});
  for (int t = 0; t < 20; ++t) silent.lseInput(t, 0, 0) = silent.lseInput(t, 1, 0) = -infinity;
  for (const Kernels* kernels : allKernels()) {
    const Gradients out = runBackward(kernels, silent);
    for (const Tensor* tensor : {&out.dq, &out.dk, &out.dv}) {
      // The last float is the guard that every tensor ends with.
      CHECK(std::all_of(tensor->data.begin(), tensor->data.end() - 1, [](float x) { return x == 0; }),
            hsap::isaName(kernels->isa));
    }
  }
}

TEST("the same tiles give the same bits, whatever scratch was used for before") {
  TileCase tileCase(
      {.qTokens = 129, .kTokens = 300, .heads = 4, .headDim = 100, .groupSize = 4, .mask = Mask::causal, .causalOffset = 171});
  for (const Kernels* kernels : allKernels()) {
    const Gradients first = runBackward(kernels, tileCase);
    hsap::Scratch scratch;
    float* memory = static_cast<float*>(scratch.reserve(hsap::Scratch::maxBytes));
    std::fill(memory, memory + hsap::Scratch::maxBytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
    Gradients second(tileCase.shape);
    Tile tile = tileCase.tile();
    second.attach(tile);
    kernels->backward(&tile, 1, scratch);
    CHECK(first.dq.data == second.dq.data && first.dk.data == second.dk.data && first.dv.data == second.dv.data,
          hsap::isaName(kernels->isa));
  }
}

TEST("a pack of documents, one tile each, agrees with the float64 reference") {
  const std::vector<std::int32_t> cuSeqlens{0, 1, 8, 23, 40, 103, 168, 295, 424, 430, 700};
  const int tokens = cuSeqlens.back(), heads = 8, kvHeads = 2, headDim = 64;
  Tensor q(tokens, heads, headDim), k(tokens, kvHeads, headDim), v(tokens, kvHeads, headDim), dO(tokens, heads, headDim);
  q.randomise(1), k.randomise(2), v.randomise(3), dO.randomise(4);
  const hsap::reference::Problem problem{heads, kvHeads, headDim, cuSeqlens.data(), cuSeqlens.size() - 1, true};
  const std::size_t qCount = static_cast<std::size_t>(tokens) * heads * headDim, kvCount = qCount / heads * kvHeads;
  std::vector<double> oTruth(qCount), lseTruth(static_cast<std::size_t>(tokens) * heads), dq(qCount), dk(kvCount), dv(kvCount);
  forward(problem, q.data.data(), k.data.data(), v.data.data(), oTruth.data(), lseTruth.data(), 2);
  backward(problem, q.data.data(), k.data.data(), v.data.data(), dO.data.data(), dq.data(), dk.data(), dv.data(), 2);
  Tensor lse(tokens, heads, 1), delta(tokens, heads, 1);
  for (int h = 0; h < heads; ++h) {
    for (int t = 0; t < tokens; ++t) {
      double dot = 0;
      for (int c = 0; c < headDim; ++c) dot += oTruth[(static_cast<std::size_t>(h) * tokens + t) * headDim + c] * dO(t, h, c);
      delta(t, h, 0) = static_cast<float>(dot);
      lse(t, h, 0) = static_cast<float>(lseTruth[static_cast<std::size_t>(h) * tokens + t]);
    }
  }
  for (const Kernels* kernels : allKernels()) {
    Tensor dqOut(tokens, heads, headDim), dkOut(tokens, kvHeads, headDim), dvOut(tokens, kvHeads, headDim);
    std::vector<Tile> tiles;
    for (std::size_t d = 0; d + 1 < cuSeqlens.size(); ++d) {
      const int first = cuSeqlens[d];
      Tile tile;
      tile.q = q.view(first), tile.k = k.view(first), tile.v = v.view(first), tile.dO = dO.view(first);
      tile.lse = lse.view(first), tile.delta = delta.view(first);
      tile.dq = dqOut.view(first), tile.dk = dkOut.view(first), tile.dv = dvOut.view(first);
      tile.qTokens = tile.kTokens = cuSeqlens[d + 1] - first;
      tile.heads = heads, tile.headDim = headDim, tile.groupSize = heads / kvHeads, tile.mask = Mask::causal;
      tiles.push_back(tile);
    }
    hsap::Scratch scratch;
    kernels->backward(tiles.data(), tiles.size(), scratch);
    const auto error = [](const Tensor& actual, const std::vector<double>& expected) {
      double difference = 0, size = 0;
      for (std::size_t i = 0; i < expected.size(); ++i)
        difference += std::pow(actual.data[i] - expected[i], 2), size += std::pow(expected[i], 2);
      return std::sqrt(difference / size);
    };
    CHECK(error(dqOut, dq) <= tolerance && error(dkOut, dk) <= tolerance && error(dvOut, dv) <= tolerance,
          hsap::isaName(kernels->isa), " dq ", error(dqOut, dq), " dk ", error(dkOut, dk), " dv ", error(dvOut, dv));
  }
}
