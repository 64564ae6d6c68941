#include "hsap/collectives.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

namespace hsap {

namespace {

using Members = std::vector<std::int32_t>;

struct GroupOfRank {
  std::int32_t rank = 0, index = 0;
  GroupKind kind = GroupKind::p2p;
  std::vector<std::int32_t> sends, receives;  // op rows
};

// The groups of all ranks that say they are collectives, by their members and then by rank, each rank's in order.
using Candidates = std::map<Members, std::map<std::int32_t, std::vector<GroupOfRank>>>;

bool mayBeCollective(GroupKind kind) { return kind == GroupKind::allGather || kind == GroupKind::allToAll; }

class Finder {
 public:
  explicit Finder(const Program& program) : program_(program) {
    pairTransfers();
    for (std::int32_t rank = 0; rank < program.ranks(); ++rank) collectGroups(rank);
  }

  CollectivePlan planOf(std::int32_t rank) const {
    CollectivePlan plan;
    plan.ofGroup.assign(groupCount(rank), nullptr);
    for (const auto& [members, groups] : candidates_) {
      if (!isRegular(members, groups)) continue;
      plan.memberSets.push_back(members);
      const auto own = groups.find(rank);
      if (own == groups.end()) continue;
      for (const GroupOfRank& group : own->second) {
        plan.collectives.push_back({group.kind, members});
        plan.ofGroup[group.index] = &plan.collectives.back();
      }
    }
    return plan;
  }

 private:
  // The partner of every send and receive, and the number of its group on its rank.
  void pairTransfers() {
    partner_.assign(program_.ops(), -1);
    rankOf_.assign(program_.ops(), -1);
    std::unordered_map<std::uint64_t, std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>>> channels;
    for (std::int32_t rank = 0; rank < program_.ranks(); ++rank) {
      for (std::int32_t row = program_.rank.opBegin[rank]; row < program_.rank.opBegin[rank + 1]; ++row) {
        if (!isCommunication(program_.kindOf(row))) continue;
        rankOf_[row] = rank;
        const bool sends = program_.kindOf(row) == OpKind::send;
        const std::uint64_t source = sends ? rank : program_.op.peer[row], destination = sends ? program_.op.peer[row] : rank;
        auto& channel = channels[source << 32 | destination];
        (sends ? channel.first : channel.second).push_back(row);
      }
    }
    for (const auto& [pair, channel] : channels) {
      for (std::size_t i = 0; i < channel.first.size(); ++i) {
        partner_[channel.first[i]] = channel.second[i];
        partner_[channel.second[i]] = channel.first[i];
      }
    }
  }

  void collectGroups(std::int32_t rank) {
    GroupOfRank group{rank, -1, GroupKind::p2p, {}, {}};
    const auto finish = [&] {
      if (group.index < 0 || !mayBeCollective(group.kind)) return;
      candidates_[membersOf(group)][rank].push_back(group);
    };
    for (std::int32_t row = program_.rank.opBegin[rank]; row < program_.rank.opBegin[rank + 1]; ++row) {
      if (!isCommunication(program_.kindOf(row))) continue;
      const auto kind = static_cast<GroupKind>(program_.op.attribute[row]);
      if (program_.op.group[row] != group.index) {
        finish();
        group = {rank, program_.op.group[row], kind, {}, {}};
      }
      if (kind != group.kind) group.kind = GroupKind::p2p;
      (program_.kindOf(row) == OpKind::send ? group.sends : group.receives).push_back(row);
    }
    finish();
  }

  Members membersOf(const GroupOfRank& group) const {
    std::set<std::int32_t> members{group.rank};
    for (const auto* rows : {&group.sends, &group.receives})
      for (const std::int32_t row : *rows) members.insert(program_.op.peer[row]);
    return {members.begin(), members.end()};
  }

  bool isRegular(const Members& members, const std::map<std::int32_t, std::vector<GroupOfRank>>& groups) const {
    if (groups.size() != members.size()) return false;
    // The place of each group in the sequence of its rank.
    std::map<std::pair<std::int32_t, std::int32_t>, std::size_t> placeOf;
    for (const auto& [rank, own] : groups)
      for (std::size_t i = 0; i < own.size(); ++i) placeOf[{rank, own[i].index}] = i;
    const auto& first = groups.begin()->second;
    for (const auto& [rank, own] : groups) {
      if (!std::binary_search(members.begin(), members.end(), rank) || own.size() != first.size()) return false;
      for (std::size_t i = 0; i < own.size(); ++i) {
        if (own[i].kind != first[i].kind || !isMatched(own[i], i, placeOf)) return false;
        if (std::max(bytesOf(own[i].sends), bytesOf(own[i].receives)) > largestCollectiveBytes) return false;
        if (own[i].kind == GroupKind::allGather && !givesAllTheSame(own[i], members.size())) return false;
      }
    }
    return true;
  }

  bool isMatched(const GroupOfRank& group, std::size_t place,
                 const std::map<std::pair<std::int32_t, std::int32_t>, std::size_t>& placeOf) const {
    for (const auto* rows : {&group.sends, &group.receives}) {
      for (const std::int32_t row : *rows) {
        const auto there = placeOf.find({rankOf_[partner_[row]], program_.op.group[partner_[row]]});
        if (there == placeOf.end() || there->second != place) return false;
      }
    }
    return true;
  }

  // One send to every other member, all of the same blocks.
  bool givesAllTheSame(const GroupOfRank& group, std::size_t members) const {
    // A member that gives nothing at all takes part with nothing.
    if (group.sends.empty()) return true;
    if (group.sends.size() != members - 1) return false;
    const std::int32_t first = group.sends.front(), count = program_.operandsOf(first);
    for (const std::int32_t row : group.sends) {
      if (program_.operandsOf(row) != count) return false;
      for (std::int32_t i = 0; i < count; ++i) {
        const std::int32_t a = program_.op.operandBegin[first] + i, b = program_.op.operandBegin[row] + i;
        if (program_.operand.region[a] != program_.operand.region[b] || !(program_.operandBox(a) == program_.operandBox(b)))
          return false;
      }
    }
    std::set<std::int32_t> peers;
    for (const std::int32_t row : group.sends) peers.insert(program_.op.peer[row]);
    return peers.size() == members - 1;
  }

  std::int64_t bytesOf(const std::vector<std::int32_t>& rows) const {
    std::int64_t bytes = 0;
    for (const std::int32_t row : rows) {
      for (std::int32_t i = program_.op.operandBegin[row]; i < program_.op.operandBegin[row + 1]; ++i) {
        const Box box = program_.operandBox(i);
        bytes += std::int64_t{4} * box.tokens() * box.heads() * program_.widthOf(i);
      }
    }
    return bytes;
  }

  std::size_t groupCount(std::int32_t rank) const {
    std::int32_t last = -1;
    for (std::int32_t row = program_.rank.opBegin[rank]; row < program_.rank.opBegin[rank + 1]; ++row)
      if (isCommunication(program_.kindOf(row))) last = std::max(last, program_.op.group[row]);
    return static_cast<std::size_t>(last + 1);
  }

  const Program& program_;
  std::vector<std::int32_t> partner_, rankOf_;
  Candidates candidates_;
};

}  // namespace

CollectivePlan planCollectives(const Program& program, std::int32_t rank) { return Finder(program).planOf(rank); }

}  // namespace hsap
