#include "lanes/computation_lane.h"

#include <algorithm>
#include <cstring>

#include "ops/layer_ops.h"
#include "ops/row_pieces.h"
#include "threads/thread_time.h"
#include "transport/strided_copy.h"

namespace hsap {

namespace {

// The heads [begin, end) of a block, counted from its first.
PlacedBlock headsOf(const PlacedBlock& block, std::int32_t begin, std::int32_t end) {
  Box box = block.box;
  box.headBegin += begin;
  box.headEnd = block.box.headBegin + end;
  return {block.view.at(0, begin), box, block.width};
}

// A rank's threads, each of which waits for its turn to compute.
class TeamOfLane final : public LayerThreads {
 public:
  TeamOfLane(const LaneContext& context, ThreadTeam& team) : context_(context), team_(team) {}

  std::int32_t count() const override { return team_.size(); }
  void forPieces(std::int64_t pieces, const std::function<void(std::int64_t, Scratch&)>& body) override {
    team_.forPieces(pieces, [&](std::int64_t piece, std::int32_t thread) {
      context_.state.checkpoint();
      const ComputeSlots::Turn turn(context_.state.slots());
      body(piece, team_.scratch(thread));
    });
  }
  void checkpoint() override { context_.state.checkpoint(); }

 private:
  const LaneContext& context_;
  ThreadTeam& team_;
};

}  // namespace

ComputationLane::ComputationLane(const LaneContext& context, const Kernels& kernels, ThreadTeam& team)
    : context_(context),
      kernels_(kernels),
      dense_(denseOpsFor(kernels.isa)),
      team_(team),
      tiles_(context_, kernels, team),
      checkpoint_([this] { context_.state.checkpoint(); }) {}

void ComputationLane::prepare(bool aliases) {
  tiles_.prepare();
  // Each thread touches its own working memory, so that it lies near.
  team_.run([&](std::int32_t thread) { std::memset(team_.scratch(thread).reserve(Scratch::maxBytes), 0, Scratch::maxBytes); });
  context_.memory.touch(aliases);
  context_.setEmptyBefore({-1});
  context_.memory.fillInputs(context_.options, team_, checkpoint_);
}

void ComputationLane::run() {
  const std::vector<Step>& steps = context_.plan.steps;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    row_ = step.rows.front();
    context_.state.awaitGroups(context_.rank, step.waitFor);
    for (const std::int32_t row : step.rows) context_.failIfAsked(row_ = row);
    row_ = step.rows.front();
    if (context_.program.kindOf(row_) == OpKind::attend) {
      context_.setEmptyBefore(step.rows);
      tiles_.run(i);
    } else {
      const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs() + team_.othersBusyUs();
      context_.setEmptyBefore(step.rows);
      runOp(row_);
      context_.record(row_, beginUs, context_.state.nowUs(), threadTimeUs() + team_.othersBusyUs() - busyBefore);
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

template <typename Body>
void ComputationLane::forRows(const PlacedBlock& block, const Body& body) {
  const std::int32_t tokens = block.box.tokens();
  const auto step = static_cast<std::int32_t>(std::min<std::int64_t>(rowsOfPiece(block.width), tokens));
  const std::int32_t pieces = (tokens + step - 1) / step;
  team_.forPieces(std::int64_t{pieces} * block.box.heads(), [&](std::int64_t piece, std::int32_t) {
    context_.state.checkpoint();
    const ComputeSlots::Turn turn(context_.state.slots());
    const auto first = static_cast<std::int32_t>(piece % pieces) * step;
    body(first, static_cast<std::int32_t>(piece / pieces), std::min(step, tokens - first));
  });
}

void ComputationLane::merge(std::int32_t row) {
  const Program& program = context_.program;
  const std::int32_t begin = program.op.operandBegin[row], end = program.op.operandBegin[row + 1];
  const PlacedBlock o = block(begin);
  forRows(o, [&](std::int32_t token, std::int32_t head, std::int32_t tokens) {
    const auto view = [&](std::int32_t operand) { return context_.memory.view(operand).at(token, head).as<float>(); };
    for (std::int32_t i = begin + 2; i < end; i += 2)
      kernels_.merge(view(begin), view(begin + 1), view(i), view(i + 1), tokens, 1, o.width);
  });
}

void ComputationLane::reduce(std::int32_t row) {
  const Program& program = context_.program;
  const std::int32_t begin = program.op.operandBegin[row], end = program.op.operandBegin[row + 1];
  const PlacedBlock target = block(begin);
  forRows(target, [&](std::int32_t token, std::int32_t head, std::int32_t tokens) {
    for (std::int32_t i = begin + 1; i < end; ++i) {
      const PlacedBlock source = block(i);
      const std::int32_t fold = source.box.heads() / target.box.heads();
      for (std::int32_t part = 0; part < fold; ++part)
        kernels_.reduce(target.view.at(token, head).as<float>(), source.view.at(token, head * fold + part).as<float>(), tokens, 1,
                        target.width);
    }
  });
}

void ComputationLane::copy(std::int32_t row) {
  const std::int32_t first = context_.program.op.operandBegin[row];
  const PlacedBlock target = block(first), source = block(first + 1);
  const std::int32_t repeat = target.box.heads() / source.box.heads();
  forRows(target, [&](std::int32_t token, std::int32_t head, std::int32_t tokens) {
    copyBlock(target.view.at(token, head), source.view.at(token, head / repeat), tokens, 1, source.width, false);
  });
}

// The query heads of one kv head are one thread's: they add to the same dk and dv.
void ComputationLane::runUnfused(std::int32_t row) {
  const Program& program = context_.program;
  const std::int32_t first = program.op.operandBegin[row];
  HeadGroups groups;
  switch (program.kindOf(row)) {
    case OpKind::score:
      groups = headGroupsOf(program, first, first + 1);
      break;
    case OpKind::softmax:
      break;
    case OpKind::weigh:
      groups = headGroupsOf(program, first + 2, first + 1);
      break;
    case OpKind::unscore:
      groups = headGroupsOf(program, first + 1, first + 2);
      break;
    default:
      throw std::logic_error(std::string("not a computation: ") + opKindName(program.kindOf(row)));
  }
  // The first operand of each has a row for each query and query head.
  const std::int32_t heads = block(first).box.heads();
  std::vector<std::int32_t> begins;
  for (std::int32_t head = 0; head < heads; head = groups.groupEnd(head, heads)) begins.push_back(head);
  team_.forPieces(static_cast<std::int64_t>(begins.size()), [&](std::int64_t piece, std::int32_t thread) {
    const ComputeSlots::Turn turn(context_.state.slots());
    const auto next = static_cast<std::size_t>(piece) + 1;
    runUnfusedHeads(row, groups, begins[piece], next < begins.size() ? begins[next] : heads, team_.scratch(thread));
  });
}

void ComputationLane::runUnfusedHeads(std::int32_t row, HeadGroups groups, std::int32_t headBegin, std::int32_t headEnd,
                                      Scratch& scratch) {
  const Program& program = context_.program;
  const std::int32_t first = program.op.operandBegin[row], count = program.operandsOf(row), kvHead = groups.kvHead(headBegin);
  const bool backward = program.problem.backward;
  const UnfusedContext unfused{dense_, scratch, program.problem, checkpoint_};
  const HeadGroups own = groups.from(headBegin);
  const auto q = [&](std::int32_t i) { return headsOf(block(first + i), headBegin, headEnd); };
  const auto kv = [&](std::int32_t i) { return headsOf(block(first + i), kvHead, kvHead + 1); };
  switch (program.kindOf(row)) {
    case OpKind::score:
      return score(unfused, static_cast<TileMask>(program.op.attribute[row]), own, q(0), kv(1), q(2));
    case OpKind::softmax: {
      std::vector<PlacedBlock> parts;
      for (std::int32_t i = 1; i < count; ++i) parts.push_back(q(i));
      return backward ? softmaxBackward(unfused, q(0), parts) : softmaxForward(unfused, q(0), parts);
    }
    case OpKind::weigh:
      if (backward) return weighBackward(unfused, own, q(0), kv(1), q(2), q(3), kv(4));
      return weighForward(unfused, own, q(0), kv(1), q(2));
    default:
      return unscore(unfused, own, q(0), q(1), kv(2), q(3), kv(4));
  }
}

void ComputationLane::runLayer(std::int32_t row) {
  const Program& program = context_.program;
  std::vector<LayerBlock> blocks;
  for (std::int32_t i = program.op.operandBegin[row]; i < program.op.operandBegin[row + 1]; ++i) {
    const std::int32_t tensor = program.tensorOf(i);
    const bool accumulates = program.tensor.accumulates[tensor] != 0;
    const bool isSumOfBf16 = accumulates && program.wireTypeOf(tensor) == ElementType::bf16;
    blocks.push_back({context_.memory.view(i), program.operandBox(i), program.widthOf(i), accumulates, isSumOfBf16});
  }
  TeamOfLane threads(context_, team_);
  runLayerOp(program.kindOf(row), *layerKernelsFor(kernels_.isa), program.problem, blocks, threads);
}

PlacedBlock ComputationLane::block(std::int32_t operandRow) const {
  return {context_.memory.view(operandRow), context_.program.operandBox(operandRow), context_.program.widthOf(operandRow)};
}

}  // namespace hsap
