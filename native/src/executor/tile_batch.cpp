#include "tile_batch.h"

#include <algorithm>

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

void TileBatch::run(const std::vector<std::int32_t>& rows) {
  const TileUnits plan = planTileUnits(context_.program, rows, context_.options.pieceWork);
  for (const TileUnit& unit : plan.units) runUnit(plan, unit);
}

void TileBatch::runUnit(const TileUnits& plan, const TileUnit& unit) {
  context_.state.checkpoint();
  const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs();
  const TilePart *begin = &plan.parts[unit.partBegin], *end = begin + (unit.partEnd - unit.partBegin);
  const Program& program = context_.program;
  const bool bf16 = program.storedTypeOf(program.tensorOf(program.op.operandBegin[begin->row])) == ElementType::bf16;
  const bool backward = program.problem.backward;
  if (bf16) {
    callKernel<Bf16>(context_, backward ? kernels_.backwardBf16 : kernels_.forwardBf16, begin, end, scratch_);
  } else {
    callKernel<float>(context_, backward ? kernels_.backward : kernels_.forward, begin, end, scratch_);
  }
  const double busyUs = threadTimeUs() - busyBefore, durationUs = context_.state.nowUs() - beginUs;
  double done = 0;
  for (std::int32_t i = unit.partBegin; i < unit.partEnd; ++i) {
    const double share = unit.work > 0 ? plan.work[i] / unit.work : 1.0 / (unit.partEnd - unit.partBegin);
    context_.extend(plan.parts[i].row, beginUs + done * durationUs, beginUs + std::min(1.0, done + share) * durationUs,
                    share * busyUs);
    done += share;
  }
}

}  // namespace hsap
