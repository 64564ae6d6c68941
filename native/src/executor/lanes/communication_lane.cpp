#include "lanes/communication_lane.h"

#include "threads/thread_time.h"

namespace hsap {

void CommunicationLane::prepare() {
  for (const GroupPlan& plan : context_.plan.groups) {
    collect(plan);
    endpoint_.prepare(group_);
  }
  group_.clear();
}

void CommunicationLane::run() {
  std::int32_t finished = 0;
  for (const GroupPlan& plan : context_.plan.groups) {
    row_ = plan.rows.front();
    context_.state.awaitComputations(context_.rank, plan.waitFor);
    exchange(plan);
    context_.state.groups(context_.rank).advanceTo(++finished);
  }
}

void CommunicationLane::exchange(const GroupPlan& plan) {
  const double beginUs = context_.state.nowUs(), busyBefore = threadTimeUs();
  for (const std::int32_t row : plan.rows) context_.failIfAsked(row_ = row);
  context_.setEmptyBefore(plan.rows);
  collect(plan);
  endpoint_.post(group_);
  endpoint_.wait();
  keepAliases(plan);
  recordGroup(plan, beginUs, threadTimeUs() - busyBefore);
}

void CommunicationLane::collect(const GroupPlan& plan) {
  const Program& program = context_.program;
  group_.clear();
  group_.collective = plan.collective;
  for (const std::int32_t row : plan.rows) {
    const bool sends = program.kindOf(row) == OpKind::send;
    if (sends) {
      group_.sends.push_back({program.op.peer[row], {}});
    } else {
      group_.receives.push_back({program.op.peer[row], {}});
    }
    for (std::int32_t i = program.op.operandBegin[row]; i < program.op.operandBegin[row + 1]; ++i) {
      const std::int32_t region = program.operand.region[i];
      const Box box = program.operandBox(i);
      const BlockView view = context_.memory.view(i);
      const bool bf16 = program.tensor.dtype[program.tensorOf(i)] != 0;
      if (sends) {
        group_.sends.back().blocks.push_back(
            {view, box.tokens(), box.heads(), program.widthOf(i), bf16, context_.memory.isStable(region)});
      } else {
        const bool mayAlias = (program.region.flags[region] & regionHandedOver) != 0;
        group_.receives.back().blocks.push_back({view, box.tokens(), box.heads(), program.widthOf(i), mayAlias, false, bf16});
      }
    }
  }
}

// A handed-over region is filled by one block that covers it, so the block's view is the region's.
void CommunicationLane::keepAliases(const GroupPlan& plan) {
  const Program& program = context_.program;
  auto receive = group_.receives.begin();
  for (const std::int32_t row : plan.rows) {
    if (program.kindOf(row) != OpKind::recv) continue;
    for (std::size_t i = 0; i < receive->blocks.size(); ++i) {
      const std::int32_t region = program.operand.region[program.op.operandBegin[row] + i];
      if (receive->blocks[i].aliased) context_.memory.alias(region, receive->blocks[i].view);
    }
    ++receive;
  }
}

void CommunicationLane::recordGroup(const GroupPlan& plan, double beginUs, double busyUs) const {
  const double endUs = context_.state.nowUs();
  const OpKind busyKind = group_.receives.empty() ? OpKind::send : OpKind::recv;
  double total = 0;
  for (const std::int32_t row : plan.rows) {
    if (context_.program.kindOf(row) == busyKind) total += static_cast<double>(bytesOf(row));
  }
  for (const std::int32_t row : plan.rows) {
    const bool counts = context_.program.kindOf(row) == busyKind && total > 0;
    context_.record(row, beginUs, endUs, counts ? busyUs * static_cast<double>(bytesOf(row)) / total : 0);
  }
}

std::int64_t CommunicationLane::bytesOf(std::int32_t row) const {
  const Program& program = context_.program;
  std::int64_t bytes = 0;
  for (std::int32_t i = program.op.operandBegin[row]; i < program.op.operandBegin[row + 1]; ++i) {
    const Box box = program.operandBox(i);
    bytes +=
        std::int64_t{box.tokens()} * box.heads() * program.widthOf(i) * (program.tensor.dtype[program.tensorOf(i)] != 0 ? 2 : 4);
  }
  return bytes;
}

}  // namespace hsap
