// Which groups of programs written by hand form a collective.
#include "hsap/collectives.h"

#include "check.h"
#include "program_fixture.h"

using namespace fixture;

namespace {

constexpr std::int32_t tokensOfRank = 8;

// Ranks that own tokens of k, and exchange them in groups of a kind.
class Exchange {
 public:
  explicit Exchange(std::int32_t ranks) : fixture_(ranks, {2, 2, 4, false, true, false, {}}, {0, ranks * tokensOfRank}) {
    k_ = fixture_.tensor(TensorCode::k, 0);
    for (std::int32_t rank = 0; rank < ranks; ++rank) {
      const Box all{0, ranks * tokensOfRank, 0, 2};
      fixture_.ranks[rank].region(k_, all);
      fixture_.ranks[rank].own(0, rank * tokensOfRank, (rank + 1) * tokensOfRank);
    }
  }

  // Each of the members sends `heads` heads of its tokens to each other one, in a group of its own.
  void exchange(GroupKind kind, const std::vector<std::int32_t>& members, std::int32_t heads = 2) {
    for (const std::int32_t rank : members) {
      Rank& own = fixture_.ranks[rank];
      own.nextGroup();
      for (const std::int32_t other : members) {
        if (other == rank) continue;
        transfer(kind, rank, true, other, {{0, {rank * tokensOfRank, (rank + 1) * tokensOfRank, 0, heads}}});
        transfer(kind, rank, false, other, {{0, {other * tokensOfRank, (other + 1) * tokensOfRank, 0, heads}}});
      }
    }
  }

  void group(std::int32_t rank) { fixture_.ranks[rank].nextGroup(); }

  void transfer(GroupKind kind, std::int32_t rank, bool sends, std::int32_t peer, std::vector<Operand> operands) {
    Rank& own = fixture_.ranks[rank];
    sends ? own.send(peer, std::move(operands)) : own.recv(peer, std::move(operands));
    own.ops.back().attribute = static_cast<std::uint8_t>(kind);
  }

  Program finish() {
    const Program program = fixture_.finish();
    checkProgram(program);
    return program;
  }

 private:
  Fixture fixture_;
  std::int32_t k_ = 0;
};

TEST("groups that all members post alike are collectives, each in its place") {
  Exchange exchange(4);
  exchange.exchange(GroupKind::allGather, {0, 1, 2, 3});
  exchange.exchange(GroupKind::allToAll, {0, 1});
  exchange.exchange(GroupKind::allToAll, {2, 3});
  exchange.exchange(GroupKind::p2p, {0, 1, 2, 3});
  exchange.exchange(GroupKind::allToAll, {0, 1}, 1);
  const Program program = exchange.finish();
  const std::vector<std::vector<std::int32_t>> sets{{0, 1}, {0, 1, 2, 3}, {2, 3}};
  for (std::int32_t rank = 0; rank < 4; ++rank) CHECK(planCollectives(program, rank).memberSets == sets, "rank ", rank);

  const CollectivePlan first = planCollectives(program, 0);
  CHECK(first.ofGroup.size() == 4);
  CHECK(first.ofGroup[0]->kind == GroupKind::allGather && first.ofGroup[0]->members == sets[1]);
  CHECK(first.ofGroup[1]->kind == GroupKind::allToAll && first.ofGroup[1]->members == sets[0]);
  CHECK(first.ofGroup[2] == nullptr);
  CHECK(first.ofGroup[3]->members == sets[0]);
  const CollectivePlan last = planCollectives(program, 3);
  CHECK(last.ofGroup.size() == 3);
  CHECK(last.ofGroup[1]->members == sets[2]);
}

TEST("an allGather whose members get different blocks is none") {
  Exchange exchange(3);
  const auto rows = [](std::int32_t rank, std::int32_t tokens) {
    return std::vector<Operand>{{0, {rank * tokensOfRank, rank * tokensOfRank + tokens, 0, 2}}};
  };
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    exchange.group(rank);
    for (std::int32_t other = 0; other < 3; ++other) {
      if (other == rank) continue;
      exchange.transfer(GroupKind::allGather, rank, true, other, rows(rank, 1 + other));
      exchange.transfer(GroupKind::allGather, rank, false, other, rows(other, 1 + rank));
    }
  }
  const CollectivePlan plan = planCollectives(exchange.finish(), 0);
  CHECK(plan.memberSets.empty());
  CHECK(plan.ofGroup.size() == 1 && plan.ofGroup[0] == nullptr);
}

TEST("groups whose members are not the same on every rank are none") {
  // A chain: the ends know the middle only.
  Exchange exchange(3);
  const auto rows = [](std::int32_t rank) {
    return std::vector<Operand>{{0, {rank * tokensOfRank, (rank + 1) * tokensOfRank, 0, 2}}};
  };
  for (std::int32_t rank = 0; rank < 3; ++rank) exchange.group(rank);
  for (const std::int32_t end : {0, 2}) {
    exchange.transfer(GroupKind::allToAll, end, true, 1, rows(end));
    exchange.transfer(GroupKind::allToAll, 1, false, end, rows(end));
  }
  CHECK(planCollectives(exchange.finish(), 1).memberSets.empty());
}

TEST("one odd group makes single transfers of all groups of its members, as their order would not be the same") {
  Exchange exchange(2);
  exchange.exchange(GroupKind::allToAll, {0, 1});
  const auto row = [](std::int32_t rank) {
    return std::vector<Operand>{{0, {rank * tokensOfRank, rank * tokensOfRank + 1, 0, 2}}};
  };
  // Rank 0 does in one group what rank 1 does in two.
  exchange.group(0);
  exchange.group(1);
  exchange.transfer(GroupKind::allToAll, 0, true, 1, row(0));
  exchange.transfer(GroupKind::allToAll, 1, false, 0, row(0));
  exchange.group(1);
  exchange.transfer(GroupKind::allToAll, 0, true, 1, row(0));
  exchange.transfer(GroupKind::allToAll, 1, false, 0, row(0));
  CHECK(planCollectives(exchange.finish(), 0).memberSets.empty());
}

}  // namespace
