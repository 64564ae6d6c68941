// The unfused ops: attention in steps, as a one-rank program, against float64.
#include "check.h"
#include "program_fixture.h"

using namespace fixture;

namespace {

const std::vector<std::int32_t> documents{0, 3, 90, 91, 150};

// One rank that scores all queries against `parts` blocks of keys. The scores are wider than the blocks have keys.
Program unfused(Fixture& fixture, std::int32_t parts, bool backward) {
  const std::int32_t tokens = fixture.cuSeqlens.back(), heads = fixture.problem.heads, kvHeads = fixture.problem.kvHeads;
  using Code = TensorCode;
  const Box all{0, tokens, 0, heads};
  Rank& own = fixture.ranks[0];
  const auto make = [&](Code code, std::int32_t role) {
    const bool kv = code == Code::k || code == Code::v || code == Code::dk || code == Code::dv;
    const Box box{0, tokens, 0, kv ? kvHeads : heads};
    const std::int32_t region = own.region(fixture.tensor(code, role), box, role == 1 ? -1 : -2);
    own.own(region, 0, tokens);
    return region;
  };
  const std::int32_t q = make(Code::q, 0), k = make(Code::k, 0), v = make(Code::v, 0);
  const std::int32_t width = tokens / parts + 13;
  const std::int32_t sTensor = fixture.tensor(static_cast<std::int32_t>(Code::s), heads, width, 2, false);
  const std::int32_t lse = make(Code::lse, backward ? 0 : 1);
  const auto keys = [&](std::int32_t part) { return Box{tokens * part / parts, tokens * (part + 1) / parts, 0, kvHeads}; };
  std::vector<std::int32_t> s;
  std::vector<Operand> softmax{{lse, all}};
  for (std::int32_t part = 0; part < parts; ++part) {
    s.push_back(own.region(sTensor, all, -2, 0, part));
    own.compute(OpKind::score, {{q, all}, {k, keys(part)}, {s[part], all}}, TileMask::document);
    softmax.push_back({s[part], all});
  }
  own.compute(OpKind::softmax, softmax);
  if (!backward) {
    const std::int32_t o = make(Code::o, 1);
    for (std::int32_t part = 0; part < parts; ++part) own.compute(OpKind::weigh, {{s[part], all}, {v, keys(part)}, {o, all}});
    return fixture.finish();
  }
  const std::int32_t dO = make(Code::dO, 0), delta = make(Code::delta, 0), dq = make(Code::dq, 1), dk = make(Code::dk, 1),
                     dv = make(Code::dv, 1);
  for (std::int32_t part = 0; part < parts; ++part) {
    own.compute(OpKind::weigh, {{s[part], all}, {v, keys(part)}, {dO, all}, {delta, all}, {dv, keys(part)}});
    own.compute(OpKind::unscore, {{s[part], all}, {q, all}, {k, keys(part)}, {dq, all}, {dk, keys(part)}});
  }
  return fixture.finish();
}

TEST("score, softmax, weigh and unscore make attention, with any split of the keys, on every instruction set") {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (kernelsFor(isa) == nullptr) continue;
    for (const std::int32_t headDim : {5, 64, 80, 128}) {
      for (const std::int32_t parts : {1, 3}) {
        for (const bool causal : {true, false}) {
          AttentionProblem problem{4, 2, headDim, false, causal, false, {}};
          Fixture ahead(1, problem, documents);
          Program program = unfused(ahead, parts, false);
          checkProgram(program);
          const Expected expected = expect(program.problem, {});
          RunOptions options;
          options.isa = isa;
          const Results forward = run(program, options);
          CHECK(distance(forward.o, expected.o) <= 1e-6, isaName(isa), " ", headDim, " o ", distance(forward.o, expected.o));
          CHECK(distance(forward.lse, expected.lse) <= 1e-6, isaName(isa), " ", headDim, " lse ",
                distance(forward.lse, expected.lse));
          problem.backward = true;
          Fixture back(1, problem, documents);
          program = unfused(back, parts, true);
          checkProgram(program);
          options.savedO = forward.o.data(), options.savedLse = forward.lse.data();
          const Results backward = run(program, options);
          CHECK(distance(backward.dq, expected.dq) <= 3e-6, isaName(isa), " ", headDim, " dq ",
                distance(backward.dq, expected.dq));
          CHECK(distance(backward.dk, expected.dk) <= 3e-6, isaName(isa), " ", headDim, " dk ",
                distance(backward.dk, expected.dk));
          CHECK(distance(backward.dv, expected.dv) <= 3e-6, isaName(isa), " ", headDim, " dv ",
                distance(backward.dv, expected.dv));
        }
      }
    }
  }
}

TEST("copies repeat heads and reductions sum them in groups") {
  // k is repeated for every query head, the two copies are summed back into dk: twice k.
  const std::int32_t tokens = 10;
  Fixture fixture(1, {4, 2, 8, false, true, true, {}}, {0, tokens});
  Rank& own = fixture.ranks[0];
  const std::int32_t kTensor = fixture.tensor(TensorCode::k, 0),
                     kxTensor = fixture.tensor(static_cast<std::int32_t>(TensorCode::kx), 4, 8, 2, false),
                     dkTensor = fixture.tensor(TensorCode::dk, 1);
  const Box few{0, tokens, 0, 2}, many{0, tokens, 0, 4};
  const std::int32_t k = own.region(kTensor, few), kx = own.region(kxTensor, many), dk = own.region(dkTensor, few, -1);
  own.own(k, 0, tokens), own.own(dk, 0, tokens);
  own.compute(OpKind::copy, {{kx, many}, {k, few}});
  own.compute(OpKind::reduce, {{dk, few}, {kx, many}, {k, few}});
  const Program program = fixture.finish();
  checkProgram(program);
  RunOptions options;
  const float none = 0;
  options.savedO = options.savedLse = &none;
  const Results results = run(program, options);
  for (std::int32_t head = 0; head < 2; ++head) {
    for (std::int32_t token = 0; token < tokens; ++token) {
      for (std::int32_t column = 0; column < 8; ++column) {
        const float value = options.inputs.element(InputTensor::k, token, head, column),
                    actual = results.dk[(head * tokens + token) * 8 + column];
        CHECK(actual == value + value + value, head, " ", token, " ", column);
      }
    }
  }
}

}  // namespace
