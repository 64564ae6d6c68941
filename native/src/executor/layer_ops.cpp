#include "layer_ops.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace hsap {

namespace {

constexpr float normEpsilon = 1e-5f;
constexpr double rotaryBase = 10000;

class LayerOp {
 public:
  LayerOp(const LayerKernels& kernels, const AttentionProblem& problem, const std::vector<LayerBlock>& blocks, Scratch& scratch,
          const std::function<void()>& checkpoint)
      : kernels_(kernels), problem_(problem), blocks_(blocks), scratch_(scratch), checkpoint_(checkpoint) {}

  void run(OpKind kind) {
    switch (kind) {
      case OpKind::linear:
        return multiply(2, blocks_[0].matrix(), blocks_[1].matrix());
      case OpKind::linearInputGradient:
        return multiply(2, blocks_[0].matrix(), blocks_[1].matrix().transposed());
      case OpKind::linearWeightGradient:
        return multiply(2, blocks_[0].matrix().transposed(), blocks_[1].matrix());
      case OpKind::rmsNorm:
        return norm();
      case OpKind::rmsNormGradient:
        return normGradient();
      case OpKind::rotary:
        return turn(1);
      case OpKind::rotaryGradient:
        return turn(-1);
      case OpKind::swiglu:
        clear(2);
        return eachRow(0,
                       [&](std::int32_t i, std::int32_t h) { kernels_.swiglu(at(0, i, h), at(1, i, h), at(2, i, h), width(0)); });
      case OpKind::swigluGradient:
        clear(3), clear(4);
        return eachRow(0, [&](std::int32_t i, std::int32_t h) {
          kernels_.swigluGradient(at(0, i, h), at(1, i, h), at(2, i, h), at(3, i, h), at(4, i, h), width(0));
        });
      case OpKind::add:
        clear(1);
        return eachRow(0, [&](std::int32_t i, std::int32_t h) { kernels_.add(at(0, i, h), at(1, i, h), width(0)); });
      case OpKind::rowDot:
        clear(2);
        return eachRow(0, [&](std::int32_t i, std::int32_t h) {
          *at(2, i, h) += static_cast<float>(kernels_.dot(at(0, i, h), at(1, i, h), width(0)));
        });
      case OpKind::embed:
        clear(2);
        return lookUp(0, 1, [&](std::int64_t entry, std::int32_t i, std::int32_t h) {
          kernels_.add(blocks_[1].row(entry, h), at(2, i, h), width(1));
        });
      case OpKind::embedGradient:
        clear(2);
        return lookUp(0, 2, [&](std::int64_t entry, std::int32_t i, std::int32_t h) {
          kernels_.add(at(1, i, h), blocks_[2].row(entry, h), width(1));
        });
      case OpKind::crossEntropy:
        return crossEntropy();
      default:
        throw std::logic_error(std::string("not an op of a layer: ") + opKindName(kind));
    }
  }

 private:
  float* at(std::int32_t block, std::int64_t row, std::int64_t group) const { return blocks_[block].row(row, group); }
  std::int64_t width(std::int32_t block) const { return blocks_[block].width; }

  // What an op sets is emptied first, as kernels only add.
  void clear(std::int32_t block) const {
    const LayerBlock& target = blocks_[block];
    if (target.accumulates) return;
    for (std::int32_t h = 0; h < target.box.heads(); ++h) {
      for (std::int32_t i = 0; i < target.box.tokens(); ++i) std::fill_n(target.row(i, h), target.width, 0.0f);
    }
  }

  template <typename Body>
  void eachRow(std::int32_t block, Body body) const {
    const Box& box = blocks_[block].box;
    for (std::int32_t h = 0; h < box.heads(); ++h) {
      for (std::int32_t i = 0; i < box.tokens(); ++i) {
        if (i % 64 == 0) checkpoint_();
        body(i, h);
      }
    }
  }

  void multiply(std::int32_t target, const Matrix& a, const Matrix& b) const {
    clear(target);
    const Checkpoint checkpoint{[](const void* call) { (*static_cast<const std::function<void()>*>(call))(); }, &checkpoint_};
    kernels_.multiplyAdd(blocks_[target].matrix(), a, b, scratch_, checkpoint);
  }

  void norm() const {
    clear(2);
    const float* gains = at(1, 0, 0);
    eachRow(0, [&](std::int32_t i, std::int32_t h) { kernels_.rmsNorm(at(0, i, h), gains, at(2, i, h), width(0), normEpsilon); });
  }

  void normGradient() const {
    clear(3), clear(4);
    const float* gains = at(1, 0, 0);
    std::vector<double> sums(static_cast<std::size_t>(width(0)));
    eachRow(0, [&](std::int32_t i, std::int32_t h) {
      kernels_.rmsNormGradient(at(0, i, h), gains, at(2, i, h), at(3, i, h), sums.data(), width(0), normEpsilon);
    });
    float* target = at(4, 0, 0);
    for (std::size_t i = 0; i < sums.size(); ++i) target[i] += static_cast<float>(sums[i]);
  }

  // Angles are taken in fp64: a position of a million times a frequency of one leaves fp32 no digit of the angle.
  void turn(float direction) const {
    clear(1);
    const auto half = static_cast<std::size_t>(width(0) / 2);
    const Box& box = blocks_[0].box;
    std::vector<double> frequencies(half);
    for (std::size_t i = 0; i < half; ++i)
      frequencies[i] = std::pow(rotaryBase, -static_cast<double>(i) / static_cast<double>(half));
    std::vector<float> cosines(half), sines(half);
    const auto& cuSeqlens = problem_.cuSeqlens;
    for (std::int32_t i = 0; i < box.tokens(); ++i) {
      if (i % 64 == 0) checkpoint_();
      const std::int32_t token = box.tokenBegin + i;
      const std::int32_t position = token - *(std::upper_bound(cuSeqlens.begin(), cuSeqlens.end(), token) - 1);
      for (std::size_t c = 0; c < half; ++c) {
        cosines[c] = static_cast<float>(std::cos(position * frequencies[c]));
        sines[c] = direction * static_cast<float>(std::sin(position * frequencies[c]));
      }
      for (std::int32_t h = 0; h < box.heads(); ++h)
        kernels_.turn(at(0, i, h), at(1, i, h), cosines.data(), sines.data(), width(0) / 2);
    }
  }

  // Calls body(entry, row, group) for each id that names a row of the table's block; entries count from the block's first.
  template <typename Body>
  void lookUp(std::int32_t ids, std::int32_t table, Body body) const {
    const Box& rows = blocks_[table].box;
    for (std::int32_t i = 0; i < blocks_[ids].box.tokens(); ++i) {
      if (i % 64 == 0) checkpoint_();
      const float id = *at(ids, i, 0);
      if (!(id >= static_cast<float>(rows.tokenBegin) && id < static_cast<float>(rows.tokenEnd))) continue;
      for (std::int32_t h = 0; h < rows.heads(); ++h) body(static_cast<std::int64_t>(id) - rows.tokenBegin, i, h);
    }
  }

  void crossEntropy() const {
    clear(2), clear(3);
    std::vector<float> room(static_cast<std::size_t>(width(0)));
    eachRow(0, [&](std::int32_t i, std::int32_t h) {
      const float label = at(1, i, 0)[0], weight = at(1, i, 0)[1];
      if (weight != 0 && !(label >= 0 && label < static_cast<float>(width(0))))
        throw std::runtime_error("token " + std::to_string(blocks_[1].box.tokenBegin + i) + " has label " +
                                 std::to_string(label) + " (must be below " + std::to_string(width(0)) + ")");
      *at(2, i, h) += kernels_.crossEntropy(at(0, i, h), at(3, i, h), room.data(), width(0),
                                            weight != 0 ? static_cast<std::int64_t>(label) : 0, weight);
    });
  }

  const LayerKernels& kernels_;
  const AttentionProblem& problem_;
  const std::vector<LayerBlock>& blocks_;
  Scratch& scratch_;
  const std::function<void()>& checkpoint_;
};

}  // namespace

void runLayerOp(OpKind kind, const LayerKernels& kernels, const AttentionProblem& problem, const std::vector<LayerBlock>& blocks,
                Scratch& scratch, const std::function<void()>& checkpoint) {
  LayerOp(kernels, problem, blocks, scratch, checkpoint).run(kind);
}

}  // namespace hsap
