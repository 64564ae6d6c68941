#include "lanes/tile_batch.h"

#include <algorithm>

#include "threads/thread_time.h"

namespace hsap {

namespace {

template <class Element, class Kernel>
void callKernel(const LaneContext& context, Kernel kernel, const TilePart* begin, const TilePart* end, Scratch& scratch) {
  std::vector<BasicTile<Element>> tiles;
  tiles.reserve(end - begin);
  for (const TilePart* part = begin; part != end; ++part)
    tiles.push_back(tileOf<Element>(context.program, context.memory, *part));
  kernel(tiles.data(), tiles.size(), scratch);
}

}  // namespace

void TileBatch::prepare() {
  for (const Step& step : context_.plan.steps) {
    Batch& batch = batches_.emplace_back();
    if (context_.program.kindOf(step.rows.front()) != OpKind::attend) continue;
    if (team_.size() == 1) {
      batch.plan = planJoinedUnits(context_.program, step.rows, context_.options.pieceWork);
      continue;
    }
    batch.plan = planTileUnits(context_.program, step.rows, context_.options.pieceWork);
    if (batch.plan.units.size() > 1) batch.dependencies = dependenciesOf(context_.program, batch.plan);
  }
}

void TileBatch::run(std::size_t step) {
  const Batch& batch = batches_[step];
  if (team_.size() == 1 || batch.plan.units.size() <= 1) {
    runInOrder(batch.plan);
  } else {
    runShared(context_.plan.steps[step], batch);
  }
}

// Each tile's time is that of its own units; of tiles that share a unit, its part of the unit's by unmasked pairs.
void TileBatch::runInOrder(const TileUnits& plan) {
  for (const TileUnit& unit : plan.units) {
    const ComputeSlots::Turn turn(context_.state.slots());
    const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs();
    callKernels(&plan.parts[unit.partBegin], &plan.parts[unit.partEnd - 1] + 1, team_.scratch(0));
    const double busyUs = threadTimeUs() - busyBefore, durationUs = context_.state.nowUs() - beginUs;
    double done = 0;
    for (std::int32_t i = unit.partBegin; i < unit.partEnd; ++i) {
      const double share = unit.work > 0 ? plan.work[i] / unit.work : 1.0 / (unit.partEnd - unit.partBegin);
      context_.extend(plan.parts[i].row, beginUs + done * durationUs, beginUs + std::min(1.0, done + share) * durationUs,
                      share * busyUs);
      done += share;
    }
  }
}

// Units of many tiles run at the same time. The batch's wall time, and the processor time of all threads, is split over its tiles
// by unmasked pairs, in order.
void TileBatch::runShared(const Step& step, const Batch& batch) {
  const TileUnits& plan = batch.plan;
  UnitQueue queue(batch.dependencies);
  const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs() + team_.othersBusyUs();
  team_.run([&](std::int32_t thread) {
    try {
      while (const auto next = queue.take()) {
        const ComputeSlots::Turn turn(context_.state.slots());
        const TileUnit& unit = plan.units[*next];
        callKernels(&plan.parts[unit.partBegin], &plan.parts[unit.partEnd - 1] + 1, team_.scratch(thread));
        queue.finish(*next);
      }
    } catch (...) {
      queue.cancel();
      throw;
    }
  });
  const double durationUs = context_.state.nowUs() - beginUs, busyUs = threadTimeUs() + team_.othersBusyUs() - busyBefore;
  double work = 0, done = 0;
  for (const TileUnit& unit : plan.units) work += unit.work;
  for (const std::int32_t row : step.rows) {
    const TileShape shape = shapeOfTile(context_.program, row);
    const double share = work > 0 ? workOf(shape, wholeTile(shape, row)) / work : 1.0 / static_cast<double>(step.rows.size());
    context_.record(row, beginUs + std::min(1.0, done) * durationUs, beginUs + std::min(1.0, done + share) * durationUs,
                    share * busyUs);
    done += share;
  }
}

void TileBatch::callKernels(const TilePart* begin, const TilePart* end, Scratch& scratch) {
  context_.state.checkpoint();
  const Program& program = context_.program;
  const bool bf16 = program.storedTypeOf(program.tensorOf(program.op.operandBegin[begin->row])) == ElementType::bf16;
  const bool backward = program.problem.backward;
  if (bf16) {
    callKernel<Bf16>(context_, backward ? kernels_.backwardBf16 : kernels_.forwardBf16, begin, end, scratch);
  } else {
    callKernel<float>(context_, backward ? kernels_.backward : kernels_.forward, begin, end, scratch);
  }
}

}  // namespace hsap
