#include "lanes/lane_plan.h"

#include <algorithm>
#include <numeric>

namespace hsap {

namespace {

class Planner {
 public:
  Planner(const Program& program, std::int32_t rank, const std::vector<bool>& ownMemory)
      : program_(program), begin_(program.rank.opBegin[rank]), end_(program.rank.opBegin[rank + 1]), ownMemory_(ownMemory) {
    for (std::int32_t region = program.rank.regionBegin[rank]; region < program.rank.regionBegin[rank + 1]; ++region) {
      if (program.region.initOp[region] >= -1 && program.tensor.accumulates[program.region.tensor[region]] != 0)
        plan_.inits.push_back({program.region.initOp[region], region});
    }
    std::stable_sort(plan_.inits.begin(), plan_.inits.end(), [](const auto& a, const auto& b) { return a.row < b.row; });
  }

  LanePlan run() {
    planGroups();
    for (std::int32_t row = begin_; row < end_; ++row) {
      if (isCommunication(program_.kindOf(row))) continue;
      if (!continuesBatch(row)) plan_.steps.push_back({{}, std::max(waited_, program_.op.waitFor[row]), 0});
      waited_ = plan_.steps.back().waitFor;
      plan_.steps.back().rows.push_back(row);
      plan_.steps.back().finished = ++computations_;
    }
    return std::move(plan_);
  }

 private:
  void planGroups() {
    awaited_.assign(end_ - begin_ + 1, false);
    for (std::int32_t row = begin_; row < end_; ++row) {
      if (!isCommunication(program_.kindOf(row))) continue;
      if (plan_.groups.size() == static_cast<std::size_t>(program_.op.group[row]))
        plan_.groups.push_back({{}, program_.op.waitFor[row], nullptr});
      plan_.groups.back().rows.push_back(row);
      awaited_[program_.op.waitFor[row]] = true;
    }
  }

  bool continuesBatch(std::int32_t row) const {
    if (plan_.steps.empty() || program_.kindOf(row) != OpKind::attend) return false;
    if (program_.kindOf(plan_.steps.back().rows.back()) != OpKind::attend) return false;
    if (program_.op.waitFor[row] > waited_ || awaited_[computations_]) return false;
    // A batch sets its regions empty before its first tile, which only memory that nobody used before allows.
    const std::vector<std::int32_t> inits = plan_.initsBefore({row});
    return std::all_of(inits.begin(), inits.end(), [&](std::int32_t region) { return ownMemory_[region]; });
  }

  const Program& program_;
  const std::int32_t begin_, end_;
  const std::vector<bool>& ownMemory_;
  std::vector<bool> awaited_;  // a group waits for exactly so many computations
  std::int32_t computations_ = 0, waited_ = 0;
  LanePlan plan_;
};

}  // namespace

std::vector<std::int32_t> LanePlan::initsBefore(const std::vector<std::int32_t>& rows) const {
  std::vector<std::int32_t> regions;
  for (const std::int32_t row : rows) {
    auto init = std::lower_bound(inits.begin(), inits.end(), row, [](const Init& a, std::int32_t b) { return a.row < b; });
    for (; init != inits.end() && init->row == row; ++init) regions.push_back(init->region);
  }
  return regions;
}

std::vector<bool> regionsWithOwnMemory(const Program& program) {
  std::vector<bool> own(program.region.tensor.size(), true);
  std::vector<std::int32_t> order;
  for (std::int32_t rank = 0; rank < program.ranks(); ++rank) {
    order.resize(program.rank.regionBegin[rank + 1] - program.rank.regionBegin[rank]);
    std::iota(order.begin(), order.end(), program.rank.regionBegin[rank]);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return program.region.offset[a] < program.region.offset[b]; });
    // The region that reaches furthest so far overlaps the next one if any before it does.
    std::int32_t furthest = -1;
    double end = -1;
    for (const std::int32_t region : order) {
      const double offset = program.region.offset[region], regionEnd = offset + static_cast<double>(program.heldBytes(region));
      if (furthest >= 0 && offset < end) own[furthest] = own[region] = false;
      if (regionEnd > end) {
        end = regionEnd;
        furthest = region;
      }
    }
  }
  return own;
}

LanePlan planLanes(const Program& program, std::int32_t rank, const std::vector<bool>& ownMemory) {
  return Planner(program, rank, ownMemory).run();
}

}  // namespace hsap
