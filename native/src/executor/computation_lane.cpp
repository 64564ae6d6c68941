#include "computation_lane.h"

#include <cstring>

#include "layer_ops.h"
#include "transport/strided_copy.h"

namespace hsap {

namespace {

// The heads h * step + first of a view, for every h.
BlockView everyHead(const BlockView& view, std::int32_t step, std::int32_t first) {
  BlockView heads = view.at(0, first);
  heads.headStride *= step;
  return heads;
}

}  // namespace

ComputationLane::ComputationLane(const LaneContext& context, const Kernels& kernels)
    : context_(context),
      kernels_(kernels),
      dense_(denseOpsFor(kernels.isa)),
      tiles_(context_, kernels, scratch_),
      checkpoint_([this] { context_.state.checkpoint(); }) {}

void ComputationLane::prepare() {
  std::memset(scratch_.reserve(Scratch::maxBytes), 0, Scratch::maxBytes);
  context_.memory.touch(context_.options.alias);
  context_.setEmptyBefore({-1});
  context_.memory.fillInputs(context_.options, checkpoint_);
}

void ComputationLane::run() {
  for (const Step& step : context_.plan.steps) {
    row_ = step.rows.front();
    context_.state.awaitGroups(context_.rank, step.waitFor);
    for (const std::int32_t row : step.rows) context_.failIfAsked(row_ = row);
    row_ = step.rows.front();
    if (context_.program.kindOf(row_) == OpKind::attend) {
      context_.setEmptyBefore(step.rows);
      tiles_.run(step.rows);
    } else {
      const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs();
      context_.setEmptyBefore(step.rows);
      runOp(row_);
      context_.record(row_, beginUs, context_.state.nowUs(), threadTimeUs() - busyBefore);
    }
    context_.state.computations(context_.rank).advanceTo(step.finished);
  }
}

void ComputationLane::runOp(std::int32_t row) {
  context_.state.checkpoint();
  if (isLayerOp(context_.program.kindOf(row))) return runLayer(row);
  switch (context_.program.kindOf(row)) {
    case OpKind::merge:
      return merge(row);
    case OpKind::reduce:
      return reduce(row);
    case OpKind::copy:
      return copy(row);
    default:
      return runUnfused(row);
  }
}

void ComputationLane::merge(std::int32_t row) {
  const Program& program = context_.program;
  const std::int32_t begin = program.op.operandBegin[row], end = program.op.operandBegin[row + 1];
  const PlacedBlock o = block(begin);
  const auto view = [&](std::int32_t operand) { return context_.memory.view(operand).as<float>(); };
  for (std::int32_t i = begin + 2; i < end; i += 2) {
    context_.state.checkpoint();
    kernels_.merge(view(begin), view(begin + 1), view(i), view(i + 1), o.box.tokens(), o.box.heads(), o.width);
  }
}

void ComputationLane::reduce(std::int32_t row) {
  const Program& program = context_.program;
  const PlacedBlock target = block(program.op.operandBegin[row]);
  for (std::int32_t i = program.op.operandBegin[row] + 1; i < program.op.operandBegin[row + 1]; ++i) {
    context_.state.checkpoint();
    const PlacedBlock source = block(i);
    const std::int32_t fold = source.box.heads() / target.box.heads();
    for (std::int32_t part = 0; part < fold; ++part)
      kernels_.reduce(target.view.as<float>(), everyHead(source.view, fold, part).as<float>(), target.box.tokens(),
                      target.box.heads(), target.width);
  }
}

void ComputationLane::copy(std::int32_t row) {
  const Program& program = context_.program;
  const std::int32_t first = program.op.operandBegin[row];
  const PlacedBlock target = block(first), source = block(first + 1);
  const std::int32_t repeat = target.box.heads() / source.box.heads();
  for (std::int32_t part = 0; part < repeat; ++part)
    copyBlock(everyHead(target.view, repeat, part), source.view, source.box.tokens(), source.box.heads(), source.width, false);
}

void ComputationLane::runUnfused(std::int32_t row) {
  const Program& program = context_.program;
  const std::int32_t first = program.op.operandBegin[row], count = program.operandsOf(row);
  const bool backward = program.problem.backward;
  const UnfusedContext unfused{dense_, scratch_, program.problem, checkpoint_};
  const auto at = [&](std::int32_t i) { return block(first + i); };
  switch (program.kindOf(row)) {
    case OpKind::score:
      return score(unfused, static_cast<TileMask>(program.op.attribute[row]), groupsOf(first, first + 1), at(0), at(1), at(2));
    case OpKind::softmax: {
      std::vector<PlacedBlock> parts;
      for (std::int32_t i = 1; i < count; ++i) parts.push_back(at(i));
      return backward ? softmaxBackward(unfused, at(0), parts) : softmaxForward(unfused, at(0), parts);
    }
    case OpKind::weigh:
      if (backward) return weighBackward(unfused, groupsOf(first + 2, first + 1), at(0), at(1), at(2), at(3), at(4));
      return weighForward(unfused, groupsOf(first + 2, first + 1), at(0), at(1), at(2));
    case OpKind::unscore:
      return unscore(unfused, groupsOf(first + 1, first + 2), at(0), at(1), at(2), at(3), at(4));
    default:
      throw std::logic_error(std::string("not a computation: ") + opKindName(program.kindOf(row)));
  }
}

void ComputationLane::runLayer(std::int32_t row) {
  const Program& program = context_.program;
  std::vector<LayerBlock> blocks;
  for (std::int32_t i = program.op.operandBegin[row]; i < program.op.operandBegin[row + 1]; ++i) {
    const bool accumulates = program.tensor.accumulates[program.tensorOf(i)] != 0;
    blocks.push_back({context_.memory.view(i).as<float>(), program.operandBox(i), program.widthOf(i), accumulates});
  }
  runLayerOp(program.kindOf(row), *layerKernelsFor(kernels_.isa), program.problem, blocks, scratch_, checkpoint_);
}

PlacedBlock ComputationLane::block(std::int32_t operandRow) const {
  return {context_.memory.view(operandRow), context_.program.operandBox(operandRow), context_.program.widthOf(operandRow)};
}

HeadGroups ComputationLane::groupsOf(std::int32_t qOperand, std::int32_t kOperand) const {
  const Program& program = context_.program;
  const std::int32_t size = program.tensor.heads[program.tensorOf(qOperand)] / program.tensor.heads[program.tensorOf(kOperand)];
  return {size, program.operand.headBegin[qOperand] - program.operand.headBegin[kOperand] * size};
}

}  // namespace hsap
