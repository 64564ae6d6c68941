#include "bench_case.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "hsap/reference.h"

namespace hsap::bench {

namespace {

// Uniform in -1.7..1.7, of unit variance, by a small multiplicative generator.
void fill(std::vector<float>& values, std::uint64_t seed) {
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = (static_cast<float>(state >> 40) * 0x1p-23f - 1.0f) * 1.7320508f;
  }
}

std::vector<Bf16> roundToBf16(std::vector<float>& values) {
  std::vector<Bf16> rounded;
  for (float& value : values) {
    rounded.push_back(toBf16(value));
    value = toFloat(rounded.back());
  }
  return rounded;
}

double relativeL2(const std::vector<float>& actual, const std::vector<double>& expected) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(error / size);
}

}  // namespace

BenchCase::BenchCase(const std::vector<std::int32_t>& lengths, std::int32_t heads, std::int32_t kvHeads, std::int32_t headDim,
                     Mask mask, Pass pass, DType dtype)
    : cuSeqlens_{0}, heads_(heads), kvHeads_(kvHeads), headDim_(headDim), mask_(mask), pass_(pass), dtype_(dtype) {
  for (const std::int32_t length : lengths) cuSeqlens_.push_back(cuSeqlens_.back() + length);
  const std::size_t rows = static_cast<std::size_t>(tokens()) * heads, kvRows = static_cast<std::size_t>(tokens()) * kvHeads;
  std::uint64_t seed = 1;
  for (std::vector<float>* tensor : {&q_, &dO_}) tensor->resize(rows * headDim), fill(*tensor, seed++);
  for (std::vector<float>* tensor : {&k_, &v_}) tensor->resize(kvRows * headDim), fill(*tensor, seed++);
  if (dtype == DType::bf16) {
    qBf16_ = roundToBf16(q_), kBf16_ = roundToBf16(k_), vBf16_ = roundToBf16(v_), dOBf16_ = roundToBf16(dO_);
  }
  o_.resize(rows * headDim);
  lse_.resize(rows);
  if (pass == Pass::backward) {
    delta_.resize(rows);
    dq_.resize(rows * headDim), dk_.resize(kvRows * headDim), dv_.resize(kvRows * headDim);
  }
  const auto view = [&](std::vector<float>& tensor, std::int32_t first, std::int32_t width) {
    return tensor.empty() ? View{} : View{tensor.data() + static_cast<std::ptrdiff_t>(first) * width, tokens() * width, width};
  };
  for (std::size_t d = 0; d < lengths.size(); ++d) {
    const std::int32_t first = cuSeqlens_[d];
    Tile tile;
    tile.q = view(q_, first, headDim), tile.k = view(k_, first, headDim), tile.v = view(v_, first, headDim);
    tile.o = view(o_, first, headDim), tile.lse = view(lse_, first, 1);
    tile.dO = view(dO_, first, headDim), tile.delta = view(delta_, first, 1);
    tile.dq = view(dq_, first, headDim), tile.dk = view(dk_, first, headDim), tile.dv = view(dv_, first, headDim);
    tile.qTokens = tile.kTokens = lengths[d];
    tile.heads = heads, tile.headDim = headDim, tile.groupSize = heads / kvHeads, tile.mask = mask;
    tiles_.push_back(tile);
    if (dtype == DType::fp32) continue;
    Bf16Tile bf16;
    const auto bf16View = [&](std::vector<Bf16>& tensor) {
      return Bf16View{tensor.data() + static_cast<std::ptrdiff_t>(first) * headDim, tokens() * headDim, headDim};
    };
    bf16.q = bf16View(qBf16_), bf16.k = bf16View(kBf16_), bf16.v = bf16View(vBf16_), bf16.dO = bf16View(dOBf16_);
    bf16.o = tile.o, bf16.lse = tile.lse, bf16.delta = tile.delta, bf16.dq = tile.dq, bf16.dk = tile.dk, bf16.dv = tile.dv;
    bf16.qTokens = bf16.kTokens = tile.qTokens;
    bf16.heads = heads, bf16.headDim = headDim, bf16.groupSize = tile.groupSize, bf16.mask = mask;
    bf16Tiles_.push_back(bf16);
  }
  reset();
  if (pass == Pass::backward) {
    // Backward needs a true lse, and delta = rowsum(dO * o).
    Scratch scratch;
    kernelsFor(bestIsa())->forward(tiles_.data(), tiles_.size(), scratch);
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::int32_t c = 0; c < headDim; ++c) delta_[row] += o_[row * headDim + c] * dO_[row * headDim + c];
    }
  }
}

double BenchCase::operations() const {
  double area = 0;
  for (const Tile& tile : tiles_) {
    const double length = tile.qTokens;
    area += mask_ == Mask::causal ? length * (length + 1) / 2 : length * length;
  }
  return (pass_ == Pass::forward ? 4.0 : 10.0) * area * heads_ * headDim_;
}

void BenchCase::reset() {
  if (pass_ == Pass::backward && !delta_.empty() && delta_[0] != 0) return;
  std::fill(o_.begin(), o_.end(), 0.0f);
  std::fill(lse_.begin(), lse_.end(), -std::numeric_limits<float>::infinity());
}

void BenchCase::run(const Kernels& kernels, Scratch& scratch) {
  if (dtype_ == DType::bf16) {
    (pass_ == Pass::forward ? kernels.forwardBf16 : kernels.backwardBf16)(bf16Tiles_.data(), bf16Tiles_.size(), scratch);
  } else {
    (pass_ == Pass::forward ? kernels.forward : kernels.backward)(tiles_.data(), tiles_.size(), scratch);
  }
}

double BenchCase::relativeError(const Kernels& kernels, Scratch& scratch) {
  const reference::Problem problem{heads_, kvHeads_, headDim_, cuSeqlens_.data(), cuSeqlens_.size() - 1, mask_ == Mask::causal};
  reset();
  for (std::vector<float>* gradient : {&dq_, &dk_, &dv_}) std::fill(gradient->begin(), gradient->end(), 0.0f);
  run(kernels, scratch);
  if (pass_ == Pass::forward) {
    std::vector<double> o(q_.size()), lse(lse_.size());
    reference::forward(problem, q_.data(), k_.data(), v_.data(), o.data(), lse.data());
    return relativeL2(o_, o);
  }
  std::vector<double> dq(q_.size()), dk(k_.size()), dv(k_.size());
  reference::backward(problem, q_.data(), k_.data(), v_.data(), dO_.data(), dq.data(), dk.data(), dv.data());
  return std::max({relativeL2(dq_, dq), relativeL2(dk_, dk), relativeL2(dv_, dv)});
}

}  // namespace hsap::bench
