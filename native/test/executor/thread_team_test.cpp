// Threads of a rank and how work is dealt to them, by themselves.
#include "threads/thread_team.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <stdexcept>

#include "check.h"
#include "program_fixture.h"
#include "threads/compute_slots.h"
#include "tiles/unit_queue.h"

using namespace fixture;

namespace {

TEST("every thread of a team is called once a round, after it began") {
  std::atomic<int> begun = 0, calls = 0;
  std::atomic<bool> early = false;
  ThreadTeam team(4, [&](std::int32_t thread) { begun += thread > 0; });
  for (int round = 1; round <= 200; ++round) {
    std::vector<std::atomic<int>> seen(4);
    team.run([&](std::int32_t thread) {
      ++seen[thread], ++calls;
      early = early || begun < 1;
    });
    for (const auto& count : seen) CHECK(count == 1, round);
    CHECK(calls == 4 * round);
  }
  CHECK(begun == 3);
}

TEST("pieces are dealt once each, and an exception of any thread reaches the caller") {
  for (const std::int32_t threads : {1, 2, 5}) {
    ThreadTeam team(threads, [](std::int32_t) {});
    std::vector<std::atomic<int>> seen(1000);
    team.forPieces(1000, [&](std::int64_t piece, std::int32_t) { ++seen[piece]; });
    CHECK(std::all_of(seen.begin(), seen.end(), [](const auto& count) { return count == 1; }));
    for (int round = 0; round < 20; ++round) {
      std::string message;
      try {
        team.forPieces(100, [&](std::int64_t piece, std::int32_t) {
          if (piece == 50) throw std::runtime_error("piece 50");
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      CHECK(message == "piece 50", message);
    }
  }
}

TEST("no more threads compute at once than there are slots") {
  for (const std::int32_t limit : {1, 2}) {
    ComputeSlots slots(limit);
    ThreadTeam team(5, [](std::int32_t) {});
    std::atomic<int> computing = 0, most = 0;
    team.forPieces(500, [&](std::int64_t, std::int32_t) {
      const ComputeSlots::Turn turn(slots);
      const int now = ++computing;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      std::this_thread::yield();
      --computing;
    });
    CHECK(most <= limit, most.load());
  }
}

// Attend ops of random tiles on one rank, backward or forward, as one batch.
struct RandomBatch {
  RandomBatch(std::mt19937& random, bool backward) : fixture(1, {4, 2, 8, false, true, backward, {}}, {0, 2000}) {
    using enum TensorCode;
    const auto below = [&](std::int32_t end) { return static_cast<std::int32_t>(random() % end); };
    const auto region = [&](TensorCode code, bool kv) {
      return fixture.ranks[0].region(fixture.tensor(code, 2), {0, 2000, 0, kv ? 2 : 4});
    };
    const std::int32_t q0 = region(q, false), k0 = region(k, true), v0 = region(v, true), lse0 = region(lse, false);
    const std::int32_t o0 = region(o, false), dO0 = region(dO, false), delta0 = region(delta, false);
    const std::int32_t dq0 = region(dq, false), dk0 = region(dk, true), dv0 = region(dv, true);
    for (int i = 0; i < 12; ++i) {
      const std::int32_t group = below(2), whole = below(2);
      const std::int32_t qBegin = below(1500), kBegin = below(1500);
      const Box queries{qBegin, qBegin + 1 + below(2000 - qBegin), whole ? 0 : 2 * group, whole ? 4 : 2 * group + 2};
      const Box keys{kBegin, kBegin + 1 + below(2000 - kBegin), whole ? 0 : group, whole ? 2 : group + 1};
      if (backward) {
        fixture.ranks[0].compute(OpKind::attend,
                                 {{q0, queries},
                                  {k0, keys},
                                  {v0, keys},
                                  {dO0, queries},
                                  {lse0, queries},
                                  {delta0, queries},
                                  {dq0, queries},
                                  {dk0, keys},
                                  {dv0, keys}},
                                 i % 2 ? TileMask::full : TileMask::causal);
      } else {
        fixture.ranks[0].compute(OpKind::attend, {{q0, queries}, {k0, keys}, {v0, keys}, {o0, queries}, {lse0, queries}},
                                 i % 2 ? TileMask::full : TileMask::causal);
      }
      rows.push_back(i);
    }
    program = fixture.finish();
  }

  // Whether both units write the same rows of a tensor.
  bool conflict(const TileUnits& plan, const TileUnit& a, const TileUnit& b) const {
    for (std::int32_t i = a.partBegin; i < a.partEnd; ++i) {
      for (std::int32_t j = b.partBegin; j < b.partEnd; ++j) {
        const TilePart &x = plan.parts[i], &y = plan.parts[j];
        if (meet(queriesOf(x), queriesOf(y))) return true;
        if (program.problem.backward && meet(keysOf(x), keysOf(y))) return true;
      }
    }
    return false;
  }
  Box queriesOf(const TilePart& part) const {
    const Box of = program.operandBox(program.op.operandBegin[part.row]);
    return {of.tokenBegin + part.queryBegin, of.tokenBegin + part.queryEnd, of.headBegin + part.headBegin,
            of.headBegin + part.headEnd};
  }
  Box keysOf(const TilePart& part) const {
    const Box of = program.operandBox(program.op.operandBegin[part.row] + 1), queries = queriesOf(part);
    return {of.tokenBegin + part.keyBegin, of.tokenBegin + part.keyEnd, queries.headBegin / 2, (queries.headEnd + 1) / 2};
  }
  static bool meet(const Box& a, const Box& b) {
    return a.tokenBegin < b.tokenEnd && b.tokenBegin < a.tokenEnd && a.headBegin < b.headEnd && b.headBegin < a.headEnd;
  }

  Fixture fixture;
  std::vector<std::int32_t> rows;
  Program program;
};

TEST("units cover every unmasked pair of their tiles once") {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    const RandomBatch batch(random, round % 2 == 1);
    const TileUnits plan = planTileUnits(batch.program, batch.rows, 1e5 * (1 + round % 7));
    double expected = 0, actual = 0;
    for (const std::int32_t row : batch.rows) {
      const TileShape shape = shapeOfTile(batch.program, row);
      expected += workOf(shape, wholeTile(shape, row));
    }
    for (std::size_t i = 0; i < plan.parts.size(); ++i) {
      const TilePart& a = plan.parts[i];
      actual += workOf(shapeOfTile(batch.program, a.row), a);
      for (std::size_t j = 0; j < i; ++j) {
        const TilePart& b = plan.parts[j];
        const bool apart = a.row != b.row || a.queryEnd <= b.queryBegin || b.queryEnd <= a.queryBegin ||
                           a.headEnd <= b.headBegin || b.headEnd <= a.headBegin || a.keyEnd <= b.keyBegin ||
                           b.keyEnd <= a.keyBegin;
        CHECK(apart, "round ", round, ", parts ", j, " and ", i);
      }
    }
    CHECK(actual == expected, actual, " of ", expected);
    std::int32_t next = 0;
    for (const TileUnit& unit : plan.units) {
      CHECK(unit.partBegin == next && unit.partEnd > next);
      next = unit.partEnd;
    }
    CHECK(next == static_cast<std::int32_t>(plan.parts.size()));
  }
}

TEST("joined units are whole units, and what writes the same rows keeps its order in them") {
  std::mt19937 random(5);
  bool joins = false;
  for (int round = 0; round < 20; ++round) {
    const RandomBatch batch(random, round % 2 == 1);
    const double largest = 3e5 * (1 + round % 5);
    const TileUnits apart = planTileUnits(batch.program, batch.rows, largest),
                    joined = planJoinedUnits(batch.program, batch.rows, largest);
    // When each part of the units comes to its end in the joined order: joined parts, and in them the queries ascending.
    std::vector<std::pair<std::size_t, std::int32_t>> turns;
    for (const TilePart& part : apart.parts) {
      std::size_t at = 0;
      const auto holds = [&](const TilePart& whole) {
        return whole.row == part.row && whole.headBegin == part.headBegin && whole.headEnd == part.headEnd &&
               whole.keyBegin == part.keyBegin && whole.keyEnd == part.keyEnd && whole.queryBegin <= part.queryBegin &&
               whole.queryEnd >= part.queryEnd;
      };
      while (at < joined.parts.size() && !holds(joined.parts[at])) ++at;
      CHECK(at < joined.parts.size(), "round ", round, ": a unit is cut");
      const bool backward = batch.program.problem.backward;
      const std::int64_t blockRows = backward ? 144 : 12;
      const std::int64_t before = std::int64_t{part.queryBegin - joined.parts[at].queryBegin} * (part.headEnd - part.headBegin);
      CHECK(before % blockRows == 0, "round ", round, ": ", before, " rows before a unit");
      joins = joins || before > 0;
      turns.emplace_back(at, part.queryBegin);
    }
    double work = 0, joinedWork = 0;
    for (const double each : apart.work) work += each;
    for (const double each : joined.work) joinedWork += each;
    CHECK(work == joinedWork, joinedWork, " of ", work);
    for (const TileUnit& later : apart.units) {
      for (const TileUnit& earlier : apart.units) {
        if (&earlier == &later) break;
        if (batch.conflict(apart, earlier, later))
          CHECK(turns[earlier.partEnd - 1] < turns[later.partBegin], "round ", round, ", parts ", earlier.partBegin, " and ",
                later.partBegin);
      }
    }
  }
  CHECK(joins);
}

TEST("units that write the same rows run one after another, in their order, on any number of threads") {
  std::mt19937 random(11);
  for (int round = 0; round < 20; ++round) {
    const RandomBatch batch(random, round % 2 == 1);
    const TileUnits plan = planTileUnits(batch.program, batch.rows, 3e5);
    const UnitDependencies dependencies = dependenciesOf(batch.program, plan);
    const std::size_t count = plan.units.size();
    CHECK(count > 4, count);
    // Times of a logical clock at which each unit began and ended.
    std::atomic<int> clock = 0;
    std::vector<int> began(count), ended(count);
    UnitQueue queue(dependencies);
    ThreadTeam team(1 + round % 4, [](std::int32_t) {});
    team.run([&](std::int32_t) {
      while (const auto unit = queue.take()) {
        began[*unit] = ++clock;
        std::this_thread::yield();
        ended[*unit] = ++clock;
        queue.finish(*unit);
      }
    });
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(began[i] > 0, "unit ", i, " never ran");
      for (std::size_t j = 0; j < i; ++j) {
        if (batch.conflict(plan, plan.units[i], plan.units[j]))
          CHECK(ended[j] < began[i], "round ", round, ", units ", j, " and ", i);
      }
    }
  }
}

TEST("a cancelled queue deals no more units") {
  std::mt19937 random(3);
  const RandomBatch batch(random, false);
  const TileUnits plan = planTileUnits(batch.program, batch.rows, 3e5);
  const UnitDependencies dependencies = dependenciesOf(batch.program, plan);
  UnitQueue queue(dependencies);
  CHECK(queue.take().has_value());
  queue.cancel();
  CHECK(!queue.take().has_value());
}

}  // namespace
