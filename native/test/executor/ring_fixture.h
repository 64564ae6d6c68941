// Ring attention over a few ranks, forward and backward, as a program written by hand.
#pragma once

#include <string>

#include "program_fixture.h"

namespace fixture {

// Rank r owns the r-th part of the tokens; blocks of keys and values go from rank to rank, and backward their gradients too.
class Ring {
 public:
  Ring(std::int32_t rankCount, AttentionProblem shape, std::vector<std::int32_t> cuSeqlens)
      : fixture(rankCount, shape, std::move(cuSeqlens)), ranks_(rankCount), tokens_(fixture.cuSeqlens.back()) {
    using enum TensorCode;
    q_ = fixture.tensor(q, 0), k_ = fixture.tensor(k, 0), v_ = fixture.tensor(v, 0);
    if (shape.backward) {
      dO_ = fixture.tensor(dO, 0), lse_ = fixture.tensor(lse, 0), delta_ = fixture.tensor(delta, 0);
      dq_ = fixture.tensor(dq, 1), dk_ = fixture.tensor(dk, 1), dv_ = fixture.tensor(dv, 1);
    } else {
      o_ = fixture.tensor(o, 1), lse_ = fixture.tensor(lse, 1);
    }
    for (std::int32_t rank = 0; rank < ranks_; ++rank) addRank(rank);
  }

  Fixture fixture;

 private:
  std::int32_t begin(std::int32_t rank) const { return static_cast<std::int32_t>(std::int64_t{tokens_} * rank / ranks_); }
  Box queries(std::int32_t rank) const { return {begin(rank), begin(rank + 1), 0, fixture.problem.heads}; }
  Box keys(std::int32_t rank) const { return {begin(rank), begin(rank + 1), 0, fixture.problem.kvHeads}; }

  void addRank(std::int32_t rank) {
    Rank& own = fixture.ranks[rank];
    const auto owned = [&](std::int32_t tensor, const Box& box, std::int32_t initOp) {
      const std::int32_t region = own.region(tensor, box, initOp);
      own.own(region, box.tokenBegin, box.tokenEnd);
      return region;
    };
    const Box mine = queries(rank);
    const std::int32_t q = owned(q_, mine, -2);
    std::int32_t k = owned(k_, keys(rank), -2), v = owned(v_, keys(rank), -2);
    if (fixture.problem.backward) {
      const std::int32_t dO = owned(dO_, mine, -2), lse = owned(lse_, mine, -2), delta = owned(delta_, mine, -2);
      const std::int32_t dq = owned(dq_, mine, -1), dk = owned(dk_, keys(rank), -1), dv = owned(dv_, keys(rank), -1);
      stages(rank, k, v, [&](std::int32_t source, std::int32_t kNow, std::int32_t vNow, std::int32_t groups) {
        // Gradients of another rank's keys are summed here first, then sent home.
        std::int32_t dkNow = dk, dvNow = dv;
        if (source != rank) {
          dkNow = own.region(dk_, keys(source), -1, 0, 1 + rank);
          dvNow = own.region(dv_, keys(source), -1, 0, 1 + rank);
        }
        for (const TestTile& tile :
             tilesBetween(fixture.cuSeqlens, begin(rank), begin(rank + 1), begin(source), begin(source + 1))) {
          const Box qBox = heads(tile.qBegin, tile.qEnd, mine), kBox = heads(tile.kBegin, tile.kEnd, keys(source));
          own.compute(OpKind::attend,
                      {{q, qBox},
                       {kNow, kBox},
                       {vNow, kBox},
                       {dO, qBox},
                       {lse, qBox},
                       {delta, qBox},
                       {dq, qBox},
                       {dkNow, kBox},
                       {dvNow, kBox}},
                      tile.mask, groups);
        }
        if (source != rank) sums_.push_back({rank, source, dkNow, dvNow});
      });
      returnGradients(rank, dk, dv);
      return;
    }
    const std::int32_t o = owned(o_, mine, -1), lse = owned(lse_, mine, -1);
    stages(rank, k, v, [&](std::int32_t source, std::int32_t kNow, std::int32_t vNow, std::int32_t groups) {
      for (const TestTile& tile :
           tilesBetween(fixture.cuSeqlens, begin(rank), begin(rank + 1), begin(source), begin(source + 1))) {
        const Box qBox = heads(tile.qBegin, tile.qEnd, mine), kBox = heads(tile.kBegin, tile.kEnd, keys(source));
        own.compute(OpKind::attend, {{q, qBox}, {kNow, kBox}, {vNow, kBox}, {o, qBox}, {lse, qBox}}, tile.mask, groups);
      }
    });
  }

  // Calls attend with the key block of each rank in turn; the next one is on its way meanwhile.
  void stages(std::int32_t rank, std::int32_t k, std::int32_t v,
              const std::function<void(std::int32_t, std::int32_t, std::int32_t, std::int32_t)>& attend) {
    Rank& own = fixture.ranks[rank];
    for (std::int32_t step = 0; step < ranks_; ++step) {
      const std::int32_t source = (rank - step + ranks_) % ranks_, next = (source - 1 + ranks_) % ranks_;
      std::int32_t nextK = -1, nextV = -1;
      if (step + 1 < ranks_) {
        nextK = own.region(k_, keys(next), -2, regionHandedOver), nextV = own.region(v_, keys(next), -2, regionHandedOver);
        own.nextGroup();
        own.send((rank + 1) % ranks_, {{k, keys(source)}, {v, keys(source)}});
        own.recv((rank - 1 + ranks_) % ranks_, {{nextK, keys(next)}, {nextV, keys(next)}});
      }
      // These blocks came with the groups before the one that is on its way now.
      attend(source, k, v, step);
      k = nextK, v = nextV;
    }
  }

  // One group in which every rank sends the gradients it summed for others, then adds those it gets, in rank order.
  void returnGradients(std::int32_t rank, std::int32_t dk, std::int32_t dv) {
    Rank& own = fixture.ranks[rank];
    own.nextGroup();
    for (std::int32_t to = 0; to < ranks_; ++to) {
      for (const auto& [by, source, dkPart, dvPart] : sums_) {
        if (by == rank && source == to) own.send(to, {{dkPart, keys(to)}, {dvPart, keys(to)}});
      }
    }
    std::vector<Operand> dkSum{{dk, keys(rank)}}, dvSum{{dv, keys(rank)}};
    for (std::int32_t from = 0; from < ranks_; ++from) {
      if (from == rank) continue;
      const std::int32_t dkPart = own.region(dk_, keys(rank), -2, 0, 1 + from),
                         dvPart = own.region(dv_, keys(rank), -2, 0, 1 + from);
      own.recv(from, {{dkPart, keys(rank)}, {dvPart, keys(rank)}});
      dkSum.push_back({dkPart, keys(rank)}), dvSum.push_back({dvPart, keys(rank)});
    }
    own.compute(OpKind::reduce, dkSum), own.compute(OpKind::reduce, dvSum);
  }

  static Box heads(std::int32_t tokenBegin, std::int32_t tokenEnd, const Box& of) {
    return {tokenBegin, tokenEnd, of.headBegin, of.headEnd};
  }

  struct Sum {
    std::int32_t by, source, dk, dv;
  };
  std::int32_t ranks_, tokens_;
  std::int32_t q_ = -1, k_ = -1, v_ = -1, o_ = -1, lse_ = -1, dO_ = -1, delta_ = -1, dq_ = -1, dk_ = -1, dv_ = -1;
  std::vector<Sum> sums_;
};

}  // namespace fixture
