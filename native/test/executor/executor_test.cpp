// Programs of several ranks, run for real and compared with float64 attention.
#include <thread>

#include "check.h"
#include "ring_fixture.h"

using namespace fixture;

namespace {

AttentionProblem shape(std::int32_t heads, std::int32_t kvHeads, std::int32_t headDim, bool backward, bool bf16 = false) {
  return {heads, kvHeads, headDim, bf16, true, backward, {}};
}

const std::vector<std::int32_t> documents{0, 5, 70, 71, 160, 200};

std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (kernelsFor(isa) != nullptr) found.push_back(isa);
  }
  return found;
}

// Options of a backward run, with what the forward pass would have saved.
struct Saved {
  explicit Saved(const Expected& expected) : o(narrowed(expected.o)), lse(narrowed(expected.lse)) {
    options.savedO = o.data(), options.savedLse = lse.data();
  }
  std::vector<float> o, lse;
  RunOptions options;
};

TEST("a ring of 1 to 4 ranks computes attention, on every instruction set") {
  for (const Isa isa : isas()) {
    for (std::int32_t ranks = 1; ranks <= 4; ++ranks) {
      Ring ring(ranks, shape(4, 2, 64, false), documents);
      const Program program = ring.fixture.finish();
      checkProgram(program);
      RunOptions options;
      options.isa = isa;
      const Results results = run(program, options);
      const Expected expected = expect(program.problem, options.inputs);
      CHECK(distance(results.o, expected.o) <= 1e-6, isaName(isa), " ranks ", ranks, " o ", distance(results.o, expected.o));
      CHECK(distance(results.lse, expected.lse) <= 1e-6, isaName(isa), " ranks ", ranks, " lse ",
            distance(results.lse, expected.lse));
    }
  }
}

TEST("a ring of 1 to 4 ranks computes gradients, on every instruction set") {
  for (const Isa isa : isas()) {
    for (std::int32_t ranks = 1; ranks <= 4; ++ranks) {
      Ring ring(ranks, shape(4, 2, 64, true), documents);
      const Program program = ring.fixture.finish();
      checkProgram(program);
      const Expected expected = expect(program.problem, {});
      Saved saved(expected);
      saved.options.isa = isa;
      const Results results = run(program, saved.options);
      CHECK(distance(results.dq, expected.dq) <= 3e-6, isaName(isa), " ranks ", ranks, " dq ", distance(results.dq, expected.dq));
      CHECK(distance(results.dk, expected.dk) <= 3e-6, isaName(isa), " ranks ", ranks, " dk ", distance(results.dk, expected.dk));
      CHECK(distance(results.dv, expected.dv) <= 3e-6, isaName(isa), " ranks ", ranks, " dv ", distance(results.dv, expected.dv));
    }
  }
}

TEST("aliases, copies and repetitions give the same bits") {
  for (const bool backward : {false, true}) {
    Ring ring(3, shape(4, 2, 64, backward), documents);
    const Program program = ring.fixture.finish();
    Saved saved(expect(program.problem, {}));
    saved.options.isa = bestIsa();
    const Results aliased = run(program, saved.options), again = run(program, saved.options);
    saved.options.alias = false;
    const Results copied = run(program, saved.options);
    CHECK(aliased == again, "backward ", backward);
    CHECK(aliased == copied, "backward ", backward);
    saved.options.inputs.seed = 2;
    CHECK(!(run(program, saved.options) == copied), "another seed must give other bits, backward ", backward);
  }
}

TEST("bf16 problems keep inputs and received blocks as bf16, and sums as fp32") {
  for (const bool backward : {false, true}) {
    Ring ring(3, shape(4, 2, 64, backward, true), documents);
    const Program program = ring.fixture.finish();
    checkProgram(program);
    const Expected expected = expect(program.problem, {});
    Saved saved(expected);
    const Results results = run(program, saved.options);
    if (backward) {
      // Gradients of remote keys are rounded to bf16 once, on their way home.
      CHECK(distance(results.dq, expected.dq) <= 3e-6, distance(results.dq, expected.dq));
      CHECK(distance(results.dk, expected.dk) > 1e-5 && distance(results.dk, expected.dk) <= 4e-3,
            distance(results.dk, expected.dk));
    } else {
      CHECK(distance(results.o, expected.o) <= 1e-6, distance(results.o, expected.o));
    }
    saved.options.alias = false;
    CHECK(results == run(program, saved.options), "copies of bf16 values must lose nothing");
  }
}

TEST("dot products of bf16 pairs round probabilities, and nothing else") {
  if (kernelsFor(Isa::avx512bf16) == nullptr) return;
  for (const bool backward : {false, true}) {
    Ring ring(3, shape(4, 2, 64, backward, true), documents);
    const Program program = ring.fixture.finish();
    const Expected expected = expect(program.problem, {});
    Saved saved(expected);
    saved.options.isa = Isa::avx512bf16;
    const Results results = run(program, saved.options);
    if (backward) {
      CHECK(distance(results.dq, expected.dq) <= 3e-6, distance(results.dq, expected.dq));
      continue;
    }
    CHECK(distance(results.o, expected.o) <= 2e-3, distance(results.o, expected.o));
    CHECK(distance(results.lse, expected.lse) <= 1e-6, distance(results.lse, expected.lse));
  }
}

TEST("a perturbed document changes nothing elsewhere") {
  Ring ring(3, shape(4, 2, 64, false), documents);
  const Program program = ring.fixture.finish();
  RunOptions options;
  const Results plain = run(program, options);
  options.inputs.perturbation = Perturbation{5, 70, 99};
  const Results perturbed = run(program, options);
  for (std::int32_t head = 0; head < 4; ++head) {
    for (std::int32_t token = 0; token < 200; ++token) {
      const bool same =
          std::memcmp(&plain.o[(head * 200 + token) * 64], &perturbed.o[(head * 200 + token) * 64], 64 * sizeof(float)) == 0;
      CHECK(same == (token < 5 || token >= 70), "head ", head, " token ", token);
    }
  }
}

TEST("traces are ordered: a lane runs one item after another, within the duration") {
  Ring ring(3, shape(4, 2, 64, false), documents);
  const Program program = ring.fixture.finish();
  const Results results = run(program);
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    double laneEnd[2] = {0, 0};
    std::int32_t group = -1;
    for (std::int32_t row = program.rank.opBegin[rank]; row < program.rank.opBegin[rank + 1]; ++row) {
      const bool communicates = isCommunication(program.kindOf(row));
      CHECK(results.beginUs[row] <= results.endUs[row] && results.endUs[row] <= results.durationUs, "row ", row);
      CHECK(results.busyUs[row] >= 0, "row ", row);
      if (communicates && program.op.group[row] == group) continue;
      group = communicates ? program.op.group[row] : group;
      CHECK(results.beginUs[row] + 1e-6 >= laneEnd[communicates], "row ", row);
      laneEnd[communicates] = results.endUs[row];
    }
  }
}

TEST("tiles are computed while the next blocks are on a slow link") {
  // A block of keys and values takes a quarter of a second, its tiles some hundredths of a millisecond.
  const std::int32_t ranks = 3;
  Ring ring(ranks, shape(1, 1, 16, false), {0, 60});
  const Program program = ring.fixture.finish();
  RunOptions options;
  options.linkBytesPerSecond = 2 * 20 * 16 * sizeof(float) * 4;
  const Results results = run(program, options);
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    // Tiles that wait for n groups run while group n is in flight, if there is one.
    std::vector<double> groupEnd;
    std::int32_t overlapped = 0, possible = 0;
    for (std::int32_t row = program.rank.opBegin[rank]; row < program.rank.opBegin[rank + 1]; ++row) {
      if (isCommunication(program.kindOf(row)) && program.op.group[row] == static_cast<std::int32_t>(groupEnd.size()))
        groupEnd.push_back(results.endUs[row]);
    }
    for (std::int32_t row = program.rank.opBegin[rank]; row < program.rank.opBegin[rank + 1]; ++row) {
      if (isCommunication(program.kindOf(row))) continue;
      const std::size_t waited = program.op.waitFor[row];
      if (waited > 0) CHECK(results.beginUs[row] >= groupEnd[waited - 1], "rank ", rank, " row ", row);
      if (waited >= groupEnd.size()) continue;
      ++possible;
      overlapped += results.endUs[row] < groupEnd[waited];
    }
    CHECK(groupEnd.size() == ranks - 1 && possible > 0 && overlapped == possible, "rank ", rank, ": ", overlapped, " of ",
          possible);
  }
}

TEST("partials that were computed elsewhere are merged in order") {
  // Rank 1 attends the second half of the keys for all queries and sends its partial to rank 0.
  const std::int32_t tokens = 96;
  AttentionProblem problem = shape(4, 4, 32, false);
  problem.causal = false;
  Fixture fixture(2, problem, {0, tokens});
  const std::int32_t q = fixture.tensor(TensorCode::q, 0), k = fixture.tensor(TensorCode::k, 0),
                     v = fixture.tensor(TensorCode::v, 0), o = fixture.tensor(TensorCode::o, 1),
                     lse = fixture.tensor(TensorCode::lse, 1);
  const Box all{0, tokens, 0, 4}, half[2] = {{0, 48, 0, 4}, {48, tokens, 0, 4}};
  for (std::int32_t r = 0; r < 2; ++r) {
    Rank& own = fixture.ranks[r];
    const std::int32_t qHere = own.region(q, all), kHere = own.region(k, half[r]), vHere = own.region(v, half[r]);
    own.own(kHere, half[r].tokenBegin, half[r].tokenEnd), own.own(vHere, half[r].tokenBegin, half[r].tokenEnd);
    if (r == 0) own.own(qHere, 0, tokens);
    const std::int32_t oHere = own.region(o, all, -1, 0, r == 0 ? 0 : 2), lseHere = own.region(lse, all, -1, 0, r == 0 ? 0 : 2);
    own.nextGroup();
    r == 0 ? own.send(1, {{qHere, all}}) : own.recv(0, {{qHere, all}});
    own.compute(OpKind::attend, {{qHere, all}, {kHere, half[r]}, {vHere, half[r]}, {oHere, all}, {lseHere, all}});
    own.nextGroup();
    if (r == 1) {
      own.send(0, {{oHere, all}, {lseHere, all}});
      continue;
    }
    const std::int32_t oPart = own.region(o, all, -2, 0, 2), lsePart = own.region(lse, all, -2, 0, 2);
    own.own(oHere, 0, tokens), own.own(lseHere, 0, tokens);
    own.recv(1, {{oPart, all}, {lsePart, all}});
    own.compute(OpKind::merge, {{oHere, all}, {lseHere, all}, {oPart, all}, {lsePart, all}});
  }
  const Program program = fixture.finish();
  checkProgram(program);
  const Expected expected = expect(program.problem, {});
  const Results results = run(program);
  CHECK(distance(results.o, expected.o) <= 1e-6, distance(results.o, expected.o));
  CHECK(distance(results.lse, expected.lse) <= 1e-6, distance(results.lse, expected.lse));
}

TEST("tiles too large for one piece are split by heads and queries, and small ones are gathered, with the same result") {
  for (const bool backward : {false, true}) {
    Ring ring(2, shape(6, 2, 32, backward), {0, 3, 7, 11, 420, 425, 500});
    const Program program = ring.fixture.finish();
    checkProgram(program);
    const Expected expected = expect(program.problem, {});
    Saved saved(expected);
    saved.options.isa = bestIsa();
    // From many pieces for each head, over whole heads and small tiles together, to everything in one.
    for (const double pieceWork : {1e3, 4e5, 2e6, 1e9}) {
      saved.options.pieceWork = pieceWork;
      const Results results = run(program, saved.options);
      if (backward) {
        CHECK(distance(results.dq, expected.dq) <= 3e-6, pieceWork, " dq ", distance(results.dq, expected.dq));
        CHECK(distance(results.dk, expected.dk) <= 3e-6, pieceWork, " dk ", distance(results.dk, expected.dk));
        CHECK(distance(results.dv, expected.dv) <= 3e-6, pieceWork, " dv ", distance(results.dv, expected.dv));
      } else {
        CHECK(distance(results.o, expected.o) <= 1e-6, pieceWork, " o ", distance(results.o, expected.o));
        CHECK(distance(results.lse, expected.lse) <= 1e-6, pieceWork, " lse ", distance(results.lse, expected.lse));
      }
    }
  }
}

}  // namespace
