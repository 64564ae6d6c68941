// The ops of a layer give the same bits however many threads share them, and in whatever order their pieces run.
#include "layer_ops.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"

using namespace hsap;

namespace {

// Says that there are so many threads, and runs pieces from the last to the first.
class CountedThreads final : public LayerThreads {
 public:
  explicit CountedThreads(std::int32_t count) : count_(count) {}

  std::int32_t count() const override { return count_; }
  void forPieces(std::int64_t pieces, const std::function<void(std::int64_t, Scratch&)>& body) override {
    most_ = std::max(most_, pieces);
    for (std::int64_t i = 0; i < pieces; ++i) body(count_ == 1 ? i : pieces - 1 - i, scratch_);
  }
  void checkpoint() override {}
  std::int64_t mostPieces() const { return most_; }

 private:
  std::int32_t count_;
  std::int64_t most_ = 0;
  Scratch scratch_;
};

struct Operand {
  std::int32_t rows, heads, width;
  bool accumulates = true;
  bool isIds = false;
};

struct Values {
  std::vector<float> values;
  Operand of;

  Values(const Operand& operand, unsigned seed)
      : values(static_cast<std::size_t>(operand.rows) * operand.heads * operand.width), of(operand) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (float& value : values) value = operand.isIds ? static_cast<float>(generator() % 90) : normal(generator);
  }
  LayerBlock block() {
    const View view{values.data(), std::ptrdiff_t{of.rows} * of.width, of.width};
    return {view, {0, of.rows, 0, of.heads}, of.width, of.accumulates};
  }
};

struct Result {
  std::vector<std::vector<float>> operands;
  std::int64_t mostPieces;
};

Result resultOf(OpKind kind, const LayerKernels& kernels, const std::vector<Operand>& operands, std::int32_t threads) {
  std::vector<Values> values;
  std::vector<LayerBlock> blocks;
  for (std::size_t i = 0; i < operands.size(); ++i) values.emplace_back(operands[i], static_cast<unsigned>(i) + 1);
  for (Values& each : values) blocks.push_back(each.block());
  static constexpr std::int32_t cuSeqlens[] = {0, 700, 701, 5000};
  AttentionProblem problem;
  problem.cuSeqlens = cuSeqlens;
  CountedThreads team(threads);
  runLayerOp(kind, kernels, problem, blocks, team);
  Result result{{}, team.mostPieces()};
  for (Values& each : values) result.operands.push_back(std::move(each.values));
  return result;
}

void sharedAlike(OpKind kind, const std::vector<Operand>& operands) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    const LayerKernels* kernels = layerKernelsFor(isa);
    if (kernels == nullptr) continue;
    const Result one = resultOf(kind, *kernels, operands, 1);
    for (const std::int32_t threads : {2, 5}) {
      const Result many = resultOf(kind, *kernels, operands, threads);
      CHECK(many.operands == one.operands, isaName(isa), " ", opKindName(kind), " on ", threads, " threads");
      CHECK(many.mostPieces > 1, opKindName(kind), " is not shared");
    }
  }
}

}  // namespace

TEST("products have the same bits on 1, 2 and 5 threads, whichever factor is transposed") {
  for (const bool accumulates : {true, false}) {
    sharedAlike(OpKind::linear, {{517, 3, 100}, {300, 5, 140}, {517, 5, 140, accumulates}});
    sharedAlike(OpKind::linearInputGradient, {{517, 3, 100}, {1001, 3, 100}, {517, 7, 143, accumulates}});
    sharedAlike(OpKind::linearWeightGradient, {{515, 3, 200}, {515, 4, 100}, {600, 4, 100, accumulates}});
  }
}

TEST("ops on rows have the same bits on 1, 2 and 5 threads") {
  for (const bool accumulates : {true, false}) {
    const Operand rows{1111, 1, 333}, heads{1111, 4, 96}, gains{333, 1, 1};
    const auto target = [&](Operand of) {
      of.accumulates = accumulates;
      return of;
    };
    sharedAlike(OpKind::rmsNorm, {rows, gains, target(rows)});
    sharedAlike(OpKind::rmsNormGradient, {rows, gains, rows, target(rows), target(gains)});
    sharedAlike(OpKind::rotary, {heads, target(heads)});
    sharedAlike(OpKind::rotaryGradient, {heads, target(heads)});
    sharedAlike(OpKind::swiglu, {heads, heads, target(heads)});
    sharedAlike(OpKind::swigluGradient, {heads, heads, heads, target(heads), target(heads)});
    sharedAlike(OpKind::add, {heads, target(heads)});
    sharedAlike(OpKind::rowDot, {heads, heads, target({1111, 4, 1})});
  }
}

TEST("look-ups and the loss have the same bits on 1, 2 and 5 threads") {
  const Operand ids{700, 1, 1, true, true};
  for (const bool accumulates : {true, false}) {
    sharedAlike(OpKind::embed, {ids, {80, 1, 500}, {700, 1, 500, accumulates}});
    sharedAlike(OpKind::embedGradient, {ids, {700, 1, 500}, {80, 1, 500, accumulates}});
    sharedAlike(OpKind::crossEntropy,
                {{700, 1, 257}, {700, 1, 2, true, true}, {700, 1, 1, accumulates}, {700, 1, 257, accumulates}});
  }
}
