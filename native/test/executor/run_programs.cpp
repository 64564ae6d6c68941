// Runs programs from files, with every hand-over, on one and on three threads a rank, and compares them with float64 attention:
// run_programs FILE...
//
// With the sanitizers' builds it shows whether the waits of lowered schedules, and of units, suffice: a missing one is a data
// race.
#include <cstdio>

#include "hsap/program_file.h"
#include "program_files.h"
#include "program_fixture.h"

using namespace fixture;

namespace {

double errorOf(const Program& program, const Expected& expected, const Results& results) {
  if (!program.problem.backward) return std::max(distance(results.o, expected.o), distance(results.lse, expected.lse));
  return std::max({distance(results.dq, expected.dq), distance(results.dk, expected.dk), distance(results.dv, expected.dv)});
}

bool runFile(const char* path) {
  const ProgramFile file = ProgramFile::read(path);
  const Program program = file.program();
  checkProgram(program);
  const Expected expected = expect(program.problem, {});
  const std::vector<float> o = narrowed(expected.o), lse = narrowed(expected.lse);
  RunOptions options;
  options.savedO = o.data(), options.savedLse = lse.data();
  options.isa = bestIsa();
  // So small that several threads share every batch.
  options.pieceWork = 1e5;
  const Results lent = run(program, options);
  options.alias = false;
  const Results copied = run(program, options);
  options.threadsPerRank = 3;
  const Results shared = run(program, options);
  options.alias = true;
  const bool same = lent == copied && lent == shared && lent == run(program, options);
  const double worst = errorOf(program, expected, lent);
  const double bound = program.problem.bf16 ? 1e-2 : program.problem.backward ? 3e-6 : 1e-6;
  const bool good = worst <= bound && same;
  std::printf("%s %s: %d ranks, %d ops, error %.2g%s\n", good ? "ok    " : "FAILED", path, program.ranks(), program.ops(), worst,
              same ? "" : ", other bits with copies or threads");
  return good;
}

}  // namespace

int main(int argc, char** argv) { return runFiles(argc, argv, runFile); }
