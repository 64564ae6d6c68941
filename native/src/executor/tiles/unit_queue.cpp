#include "tiles/unit_queue.h"

#include <algorithm>
#include <map>

namespace hsap {

namespace {

// What one unit writes of one region.
struct Write {
  Box box;
  std::int32_t unit;
};

using WritesByRegion = std::map<std::int32_t, std::vector<Write>>;

WritesByRegion writesOf(const Program& program, const TileUnits& plan) {
  WritesByRegion writes;
  for (std::size_t unit = 0; unit < plan.units.size(); ++unit) {
    for (std::int32_t i = plan.units[unit].partBegin; i < plan.units[unit].partEnd; ++i) {
      const TilePart& part = plan.parts[i];
      const TileShape shape = shapeOfTile(program, part.row);
      const std::int32_t first = program.op.operandBegin[part.row];
      const auto add = [&](std::int32_t operand, std::int32_t tokenBegin, std::int32_t tokenEnd, std::int32_t headBegin,
                           std::int32_t headEnd) {
        const Box of = program.operandBox(first + operand);
        writes[program.operand.region[first + operand]].push_back(
            {{of.tokenBegin + tokenBegin, of.tokenBegin + tokenEnd, of.headBegin + headBegin, of.headBegin + headEnd},
             static_cast<std::int32_t>(unit)});
      };
      const auto addQueries = [&](std::int32_t operand) {
        add(operand, part.queryBegin, part.queryEnd, part.headBegin, part.headEnd);
      };
      const auto addKeys = [&](std::int32_t operand) {
        add(operand, part.keyBegin, part.keyEnd, shape.groups.kvHead(part.headBegin), shape.groups.kvHead(part.headEnd - 1) + 1);
      };
      if (program.problem.backward) {
        addQueries(6), addKeys(7), addKeys(8);
      } else {
        addQueries(3), addQueries(4);
      }
    }
  }
  return writes;
}

std::vector<std::int32_t> sortedUnique(std::vector<std::int32_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

std::size_t indexIn(const std::vector<std::int32_t>& sorted, std::int32_t value) {
  return std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin();
}

using Edge = std::pair<std::int32_t, std::int32_t>;

// Cuts the region along all borders of what is written, and follows the last writer of each piece.
void addEdges(const std::vector<Write>& writes, std::vector<Edge>& edges) {
  std::vector<std::int32_t> tokens, heads;
  for (const Write& write : writes) {
    tokens.insert(tokens.end(), {write.box.tokenBegin, write.box.tokenEnd});
    heads.insert(heads.end(), {write.box.headBegin, write.box.headEnd});
  }
  tokens = sortedUnique(std::move(tokens)), heads = sortedUnique(std::move(heads));
  std::vector<std::int32_t> last(tokens.size() * heads.size(), -1);
  for (const auto& [box, unit] : writes) {
    const std::size_t tokenEnd = indexIn(tokens, box.tokenEnd), headEnd = indexIn(heads, box.headEnd);
    for (std::size_t head = indexIn(heads, box.headBegin); head < headEnd; ++head) {
      for (std::size_t token = indexIn(tokens, box.tokenBegin); token < tokenEnd; ++token) {
        std::int32_t& before = last[head * tokens.size() + token];
        if (before >= 0 && before != unit) edges.emplace_back(before, unit);
        before = unit;
      }
    }
  }
}

}  // namespace

UnitDependencies dependenciesOf(const Program& program, const TileUnits& plan) {
  std::vector<Edge> edges;
  for (const auto& [region, writes] : writesOf(program, plan)) addEdges(writes, edges);
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());

  const std::size_t count = plan.units.size();
  UnitDependencies result{std::vector<std::int32_t>(count), std::vector<std::int32_t>(count + 1), {}, std::vector<double>(count)};
  for (const auto& [from, to] : edges) {
    ++result.waits[to];
    ++result.successorBegin[from + 1];
    result.successors.push_back(to);
  }
  for (std::size_t i = 0; i < count; ++i) result.successorBegin[i + 1] += result.successorBegin[i];
  for (std::size_t i = count; i-- > 0;) {
    double longest = 0;
    for (std::int32_t at = result.successorBegin[i]; at < result.successorBegin[i + 1]; ++at)
      longest = std::max(longest, result.pathWork[result.successors[at]]);
    result.pathWork[i] = plan.units[i].work + longest;
  }
  return result;
}

UnitQueue::UnitQueue(const UnitDependencies& dependencies)
    : dependencies_(dependencies), waits_(dependencies.waits), unfinished_(dependencies.waits.size()) {
  for (std::size_t unit = 0; unit < waits_.size(); ++unit) {
    if (waits_[unit] == 0) ready_.push({dependencies.pathWork[unit], static_cast<std::int32_t>(unit)});
  }
}

std::optional<std::int32_t> UnitQueue::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return cancelled_ || unfinished_ == 0 || !ready_.empty(); });
  if (cancelled_ || ready_.empty()) return std::nullopt;
  const std::int32_t unit = ready_.top().unit;
  ready_.pop();
  return unit;
}

void UnitQueue::finish(std::int32_t unit) {
  const std::lock_guard lock(mutex_);
  for (std::int32_t i = dependencies_.successorBegin[unit]; i < dependencies_.successorBegin[unit + 1]; ++i) {
    const std::int32_t successor = dependencies_.successors[i];
    if (--waits_[successor] > 0) continue;
    ready_.push({dependencies_.pathWork[successor], successor});
    changed_.notify_one();
  }
  if (--unfinished_ == 0) changed_.notify_all();
}

void UnitQueue::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

}  // namespace hsap
