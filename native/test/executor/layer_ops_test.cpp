// The ops of a layer give the same bits however many threads share them, and in whatever order their pieces run; on blocks of
// bf16 they give those of fp32, rounded once.
#include "ops/layer_ops.h"

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
  bool bf16 = false;         // stored as bf16
  bool isSumOfBf16 = false;  // stored as fp32, and read as bf16
};

struct Values {
  std::vector<float> values;
  std::vector<Bf16> halves;
  Operand of;

  Values(const Operand& operand, unsigned seed)
      : values(static_cast<std::size_t>(operand.rows) * operand.heads * operand.width), of(operand) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (float& value : values) value = operand.isIds ? static_cast<float>(generator() % 90) : normal(generator);
    for (const float value : values)
      if (operand.bf16) halves.push_back(toBf16(value));
  }
  LayerBlock block() {
    const std::ptrdiff_t group = std::ptrdiff_t{of.rows} * of.width;
    const BlockView view =
        of.bf16 ? BlockView(Bf16View{halves.data(), group, of.width}) : BlockView(View{values.data(), group, of.width});
    return {view, {0, of.rows, 0, of.heads}, of.width, of.accumulates, of.isSumOfBf16};
  }
  std::vector<float> result() {
    for (std::size_t i = 0; i < halves.size(); ++i) values[i] = toFloat(halves[i]);
    return std::move(values);
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
  for (Values& each : values) result.operands.push_back(each.result());
  return result;
}

void sharedAlike(OpKind kind, const std::vector<Operand>& operands) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
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

// The operands of an op with those that may be bf16 stored so; what an op sets is then bf16, what it adds to stays fp32.
std::vector<Operand> asBf16(std::vector<Operand> operands, const std::vector<std::size_t>& fp32 = {}) {
  for (std::size_t i = 0; i < operands.size(); ++i)
    operands[i].bf16 = std::find(fp32.begin(), fp32.end(), i) == fp32.end() && !operands[i].isIds;
  return operands;
}

// Runs an op whose operands from `firstTarget` on are set on bf16 rows, and on fp32 rows of the same numbers.
void roundedOnce(OpKind kind, const std::vector<Operand>& operands, std::size_t firstTarget,
                 const std::vector<std::size_t>& fp32 = {}) {
  std::vector<Operand> halves = asBf16(operands, fp32), wide = halves;
  for (Operand& each : wide) each.isSumOfBf16 = each.bf16, each.bf16 = false;
  for (std::size_t i = firstTarget; i < operands.size(); ++i) halves[i].accumulates = wide[i].accumulates = false;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
    const LayerKernels* kernels = layerKernelsFor(isa);
    if (kernels == nullptr) continue;
    const Result stored = resultOf(kind, *kernels, halves, 1);
    Result read = resultOf(kind, *kernels, wide, 1);
    for (std::size_t i = firstTarget; i < operands.size(); ++i) {
      if (halves[i].bf16)
        for (float& value : read.operands[i]) value = toFloat(toBf16(value));
      CHECK(stored.operands[i] == read.operands[i], isaName(isa), " ", opKindName(kind), " operand ", i);
    }
  }
}

TEST("an id just below the first row of a table, where fp32 has no number for that row, names none of its rows") {
  constexpr std::int32_t first = (1 << 24) + 1;
  std::vector<float> ids{1 << 24}, table{5, 7}, target{1};
  const auto block = [](std::vector<float>& values, std::size_t from, std::int32_t row) {
    return LayerBlock{View{values.data() + from, 1, 1}, {row, row + 1, 0, 1}, 1};
  };
  AttentionProblem problem;
  CountedThreads team(1);
  // The row before the table's block holds 5.
  runLayerOp(OpKind::embed, *layerKernelsFor(Isa::scalar), problem,
             {block(ids, 0, 0), block(table, 1, first), block(target, 0, 0)}, team);
  CHECK(target[0] == 1, target[0]);
  runLayerOp(OpKind::embedGradient, *layerKernelsFor(Isa::scalar), problem,
             {block(ids, 0, 0), block(target, 0, 0), block(table, 1, first)}, team);
  CHECK(table[0] == 5 && table[1] == 7, table[0], " ", table[1]);
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

TEST("ops on bf16 have the same bits on 1, 2 and 5 threads") {
  const Operand rows{1111, 1, 333, false}, heads{1111, 4, 96, false}, ids{700, 1, 1, true, true};
  sharedAlike(OpKind::linear, asBf16({{517, 3, 100}, {300, 5, 140}, {517, 5, 140, false}}));
  sharedAlike(OpKind::linear, asBf16({{517, 3, 100}, {300, 5, 140}, {517, 5, 140}}, {2}));
  sharedAlike(OpKind::linearInputGradient, asBf16({{517, 3, 100}, {1001, 3, 100}, {517, 7, 143, false}}));
  sharedAlike(OpKind::linearWeightGradient, asBf16({{515, 3, 200}, {515, 4, 100}, {600, 4, 100}}, {2}));
  sharedAlike(OpKind::rmsNorm, asBf16({rows, {333, 1, 1}, rows}));
  sharedAlike(OpKind::rmsNormGradient, asBf16({rows, {333, 1, 1}, rows, rows, {333, 1, 1}}, {4}));
  sharedAlike(OpKind::swigluGradient, asBf16({heads, heads, heads, heads, heads}));
  sharedAlike(OpKind::embed, asBf16({ids, {80, 1, 500}, {700, 1, 500, false}}));
  sharedAlike(OpKind::embedGradient, asBf16({ids, {700, 1, 500}, {80, 1, 500}}, {2}));
}

TEST("ops on rows of bf16 give what they give on fp32 rows of the same numbers, rounded once") {
  const Operand rows{111, 1, 333}, heads{111, 4, 96}, gains{333, 1, 1}, one{111, 4, 1}, ids{111, 1, 1, true, true};
  roundedOnce(OpKind::rmsNorm, {rows, gains, rows}, 2);
  roundedOnce(OpKind::rmsNormGradient, {rows, gains, rows, rows, gains}, 3, {4});
  roundedOnce(OpKind::rotary, {heads, heads}, 1);
  roundedOnce(OpKind::rotaryGradient, {heads, heads}, 1);
  roundedOnce(OpKind::swiglu, {heads, heads, heads}, 2);
  roundedOnce(OpKind::swigluGradient, {heads, heads, heads, heads, heads}, 3);
  roundedOnce(OpKind::add, {heads, heads}, 1);
  roundedOnce(OpKind::rowDot, {heads, heads, one}, 2, {2});
  roundedOnce(OpKind::embed, {ids, {80, 1, 500}, {111, 1, 500}}, 2);
  roundedOnce(OpKind::embedGradient, {ids, {111, 1, 500}, {80, 1, 500}}, 2, {2});
  roundedOnce(OpKind::crossEntropy, {{111, 1, 257}, {111, 1, 2, true, true}, {111, 1, 1}, {111, 1, 257}}, 2, {2});
  roundedOnce(OpKind::rowLogSumExp, {heads, one}, 1, {1});
  roundedOnce(OpKind::splitCrossEntropy, {heads, {111, 1, 2, true, true}, one, {111, 1, 1}, heads}, 3, {2, 3});
  roundedOnce(OpKind::linear, {{111, 1, 333}, {333, 4, 96}, heads}, 2);
  roundedOnce(OpKind::linearInputGradient, {heads, {333, 4, 96}, rows}, 2);
  roundedOnce(OpKind::linearWeightGradient, {rows, heads, {333, 4, 96}}, 2);
}
