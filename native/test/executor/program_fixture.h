// Programs written by hand: regions, ops and operands of each rank, from which the columns are laid out.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "hsap/executor.h"
#include "hsap/program.h"
#include "hsap/reference.h"

namespace fixture {

using namespace hsap;

struct Operand {
  std::int32_t region;
  Box box;
};

struct Region {
  std::int32_t tensor;
  Box box;
  std::int32_t flags, initOp, part;  // initOp: row within the rank, or -1, -2
};

struct Op {
  OpKind kind;
  std::uint8_t attribute;
  std::int32_t peer, group, waitFor;
  std::vector<Operand> operands;
};

struct Owned {
  std::int32_t region, tokenBegin, tokenEnd;
};

// One rank's part. Unless told otherwise an op waits for everything of the other lane that stands before it.
class Rank {
 public:
  std::int32_t region(std::int32_t tensor, Box box, std::int32_t initOp = -2, std::int32_t flags = 0, std::int32_t part = 0) {
    regions.push_back({tensor, box, flags, initOp, part});
    return static_cast<std::int32_t>(regions.size()) - 1;
  }
  void own(std::int32_t region, std::int32_t tokenBegin, std::int32_t tokenEnd) {
    owned.push_back({region, tokenBegin, tokenEnd});
  }
  void send(std::int32_t peer, std::vector<Operand> operands) { transfer(OpKind::send, peer, std::move(operands)); }
  void recv(std::int32_t peer, std::vector<Operand> operands) { transfer(OpKind::recv, peer, std::move(operands)); }
  // What is sent and received from here on belongs to a new group.
  void nextGroup() { opens_ = true; }
  void compute(OpKind kind, std::vector<Operand> operands, TileMask mask = TileMask::full, std::int32_t waitFor = -1) {
    ops.push_back({kind, static_cast<std::uint8_t>(mask), -1, -1, waitFor < 0 ? group_ + 1 : waitFor, std::move(operands)});
    ++computations_;
  }

  std::vector<Region> regions;
  std::vector<Op> ops;
  std::vector<Owned> owned;

 private:
  void transfer(OpKind kind, std::int32_t peer, std::vector<Operand> operands) {
    if (opens_) ++group_, groupWait_ = computations_;
    opens_ = false;
    ops.push_back({kind, 0, peer, group_, groupWait_, std::move(operands)});
  }

  bool opens_ = true;
  std::int32_t group_ = -1, groupWait_ = 0, computations_ = 0;
};

class Fixture {
 public:
  Fixture(std::int32_t rankCount, AttentionProblem shape, std::vector<std::int32_t> documentEnds)
      : ranks(rankCount), problem(shape), cuSeqlens(std::move(documentEnds)) {}

  std::int32_t tensor(TensorCode code, std::int32_t role) {
    using enum TensorCode;
    const bool kv = code == k || code == v || code == dk || code == dv;
    const bool row = code == lse || code == delta;
    const bool gradient = code == dkx || code == dvx;
    return tensor(static_cast<std::int32_t>(code), kv ? problem.kvHeads : problem.heads, row ? 1 : problem.headDim, role,
                  role == 1 || gradient, problem.bf16 && !row);
  }
  std::int32_t tensor(std::int32_t code, std::int32_t heads, std::int32_t width, std::int32_t role, bool accumulates,
                      bool bf16 = false) {
    tensorCode.push_back(code);
    tensorHeads.push_back(heads);
    tensorWidth.push_back(width);
    tensorDtype.push_back(bf16);
    tensorRole.push_back(static_cast<std::uint8_t>(role));
    tensorAccumulates.push_back(accumulates);
    return static_cast<std::int32_t>(tensorCode.size()) - 1;
  }

  // Lays the columns out, once; they stay valid, and may be changed, while the fixture lives.
  Program finish() {
    opBegin = regionBegin = operandBegin = {0};
    for (const Rank& rank : ranks) layOut(rank);
    return columns();
  }

  // The columns as they lie.
  Program columns() {
    problem.cuSeqlens = cuSeqlens;
    Program program;
    program.problem = problem;
    program.rank = {opBegin, regionBegin, arenaBytes};
    program.tensor = {tensorCode, tensorHeads, tensorWidth, tensorDtype, tensorRole, tensorAccumulates};
    program.region = {region[0], region[1], region[2], region[3], region[4], region[5], offset, region[6], region[7]};
    program.owned = {owned[0], owned[1], owned[2]};
    program.op = {kind, attribute, op[0], op[1], op[2], operandBegin};
    program.operand = {operand[0], operand[1], operand[2], operand[3], operand[4]};
    return program;
  }

  std::vector<Rank> ranks;
  AttentionProblem problem;
  std::vector<std::int32_t> cuSeqlens;
  std::vector<std::int32_t> opBegin, regionBegin, operandBegin, tensorCode, tensorHeads, tensorWidth;
  std::vector<double> arenaBytes, offset;
  std::vector<std::uint8_t> tensorDtype, tensorRole, tensorAccumulates, kind, attribute;
  std::vector<std::int32_t> region[8], owned[3], op[3], operand[5];

 private:
  void layOut(const Rank& rank) {
    const std::int32_t firstRegion = regionBegin.back(), firstOp = opBegin.back();
    double bytes = 0;
    for (const Region& row : rank.regions) {
      const std::int32_t values[8] = {
          row.tensor,        row.part,        row.box.tokenBegin, row.box.tokenEnd,
          row.box.headBegin, row.box.headEnd, row.flags,          row.initOp < 0 ? row.initOp : row.initOp + firstOp};
      for (int i = 0; i < 8; ++i) region[i].push_back(values[i]);
      offset.push_back(bytes);
      const double element = tensorDtype[row.tensor] != 0 && tensorAccumulates[row.tensor] == 0 ? 2 : 4;
      bytes += std::ceil(element * row.box.tokens() * row.box.heads() * tensorWidth[row.tensor] / 64) * 64;
    }
    for (const Owned& row : rank.owned) {
      owned[0].push_back(row.region + firstRegion);
      owned[1].push_back(row.tokenBegin);
      owned[2].push_back(row.tokenEnd);
    }
    for (const Op& row : rank.ops) {
      kind.push_back(static_cast<std::uint8_t>(row.kind));
      attribute.push_back(row.attribute);
      op[0].push_back(row.peer);
      op[1].push_back(row.group);
      op[2].push_back(row.waitFor);
      for (const auto& [id, box] : row.operands) {
        const std::int32_t values[5] = {id + firstRegion, box.tokenBegin, box.tokenEnd, box.headBegin, box.headEnd};
        for (int i = 0; i < 5; ++i) operand[i].push_back(values[i]);
      }
      operandBegin.push_back(static_cast<std::int32_t>(operand[0].size()));
    }
    arenaBytes.push_back(bytes);
    regionBegin.push_back(static_cast<std::int32_t>(region[0].size()));
    opBegin.push_back(static_cast<std::int32_t>(kind.size()));
  }
};

struct TestTile {
  std::int32_t qBegin, qEnd, kBegin, kEnd;
  TileMask mask;
};

// The causal tiles of queries [qBegin, qEnd) against keys [kBegin, kEnd), document by document.
inline std::vector<TestTile> tilesBetween(const std::vector<std::int32_t>& cuSeqlens, std::int32_t qBegin, std::int32_t qEnd,
                                          std::int32_t kBegin, std::int32_t kEnd) {
  std::vector<TestTile> tiles;
  for (std::size_t d = 0; d + 1 < cuSeqlens.size(); ++d) {
    const std::int32_t q0 = std::max({qBegin, cuSeqlens[d], kBegin}), q1 = std::min(qEnd, cuSeqlens[d + 1]);
    const std::int32_t k0 = std::max(kBegin, cuSeqlens[d]), k1 = std::min({kEnd, cuSeqlens[d + 1], qEnd});
    if (q0 < q1 && k0 < k1) tiles.push_back({q0, q1, k0, k1, k1 <= q0 + 1 ? TileMask::full : TileMask::causal});
  }
  return tiles;
}

// Tensors of all tokens, as the executor hands them out and the reference computes them.
struct Results {
  std::vector<float> o, lse, dq, dk, dv;
  std::vector<double> beginUs, endUs, busyUs;
  double durationUs = 0;
  RunThreads threads = {};
  std::vector<double> residentBytes = {};

  bool operator==(const Results& other) const {
    return same(o, other.o) && same(lse, other.lse) && same(dq, other.dq) && same(dk, other.dk) && same(dv, other.dv);
  }

 private:
  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }
};

inline Results run(const Program& program, RunOptions options, Cancellation& cancellation) {
  const AttentionProblem& problem = program.problem;
  const std::size_t rows = problem.heads * problem.tokens(), kvRows = problem.kvHeads * problem.tokens();
  Results results;
  results.o.resize(rows * problem.headDim), results.lse.resize(rows), results.dq.resize(rows * problem.headDim);
  results.dk.resize(kvRows * problem.headDim), results.dv.resize(kvRows * problem.headDim);
  results.beginUs.resize(program.ops()), results.endUs.resize(program.ops()), results.busyUs.resize(program.ops());
  RunTrace trace{results.beginUs, results.endUs, results.busyUs};
  const RunOutputs outputs{results.o.data(), results.lse.data(), results.dq.data(), results.dk.data(), results.dv.data()};
  options.inputs.bf16 = problem.bf16;
  runProgram(program, options, outputs, trace, cancellation);
  results.durationUs = trace.durationUs;
  results.threads = trace.threads;
  results.residentBytes = trace.residentBytes;
  return results;
}

inline Results run(const Program& program, const RunOptions& options = {}) {
  Cancellation cancellation;
  return run(program, options, cancellation);
}

struct Expected {
  std::vector<double> o, lse, dq, dk, dv;
};

inline Expected expect(const AttentionProblem& problem, InputSource inputs) {
  inputs.bf16 = problem.bf16;
  const auto tokens = static_cast<std::int32_t>(problem.tokens());
  const auto make = [&](InputTensor tensor, std::int32_t heads) {
    std::vector<float> values(std::size_t(heads) * tokens * problem.headDim);
    inputs.fill(tensor, {values.data(), std::ptrdiff_t{tokens} * problem.headDim, problem.headDim}, 0, tokens, 0, heads,
                problem.headDim);
    return values;
  };
  const auto q = make(InputTensor::q, problem.heads), k = make(InputTensor::k, problem.kvHeads),
             v = make(InputTensor::v, problem.kvHeads), dO = make(InputTensor::dO, problem.heads);
  Expected expected;
  expected.o.resize(q.size()), expected.dq.resize(q.size()), expected.lse.resize(q.size() / problem.headDim);
  expected.dk.resize(k.size()), expected.dv.resize(k.size());
  const reference::Problem shape{
      problem.heads, problem.kvHeads, problem.headDim, problem.cuSeqlens.data(), problem.cuSeqlens.size() - 1, problem.causal};
  reference::forward(shape, q.data(), k.data(), v.data(), expected.o.data(), expected.lse.data());
  reference::backward(shape, q.data(), k.data(), v.data(), dO.data(), expected.dq.data(), expected.dk.data(), expected.dv.data());
  return expected;
}

inline std::vector<float> narrowed(const std::vector<double>& values) { return {values.begin(), values.end()}; }

// Relative L2 distance.
inline double distance(const std::vector<float>& actual, const std::vector<double>& expected) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(error / norm);
}

}  // namespace fixture
