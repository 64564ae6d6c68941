// Runs stages of training steps from files, with every hand-over, on one and on three threads a rank, and checks that all give
// the same bits: run_stages FILE...
//
// With the sanitizers' builds it shows whether the waits of their schedules suffice, and whether threads share the ops of a layer
// without touching the same rows. What the ops compute is compared elsewhere; here inputs are random numbers.
#include <cstdio>
#include <cstring>
#include <optional>
#include <random>
#include <vector>

#include "hsap/executor.h"
#include "hsap/program_file.h"
#include "program_files.h"

using namespace hsap;

namespace {

using Tensors = std::vector<std::vector<float>>;

// The numbers that a tensor of ids may hold, [0, count), and whether it holds labels, pairs of an id and a weight.
struct Ids {
  std::int64_t count;
  bool labels;
};

std::vector<std::optional<Ids>> idsOf(const Program& program) {
  std::vector<std::optional<Ids>> ids(program.tensor.code.size());
  for (std::int32_t row = 0; row < program.ops(); ++row) {
    const auto tensor = [&](std::int32_t operand) { return program.tensorOf(program.op.operandBegin[row] + operand); };
    const auto columns = [&](std::int32_t of) { return std::int64_t{program.tensor.heads[of]} * program.tensor.width[of]; };
    switch (program.kindOf(row)) {
      case OpKind::embed:
        ids[tensor(0)] = Ids{program.rowsOf(tensor(1)), false};
        break;
      case OpKind::embedGradient:
        ids[tensor(0)] = Ids{program.rowsOf(tensor(2)), false};
        break;
      case OpKind::crossEntropy:
      case OpKind::splitCrossEntropy:
        ids[tensor(1)] = Ids{columns(tensor(0)), true};
        break;
      default:
        break;
    }
  }
  return ids;
}

// Whole tensors: inputs filled, outputs empty, none of the program's own.
Tensors tensorsFor(const Program& program) {
  const auto ids = idsOf(program);
  Tensors tensors(program.tensor.code.size());
  std::mt19937 random(1);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (program.tensor.role[i] > 1) continue;
    std::vector<float>& values = tensors[i];
    values.resize(static_cast<std::size_t>(program.tensor.heads[i]) * program.tensor.width[i] *
                  static_cast<std::size_t>(program.rowsOf(static_cast<std::int32_t>(i))));
    if (program.tensor.role[i] != 0) continue;
    for (std::size_t at = 0; at < values.size(); ++at) {
      const bool isId = ids[i] && (!ids[i]->labels || at % 2 == 0);
      values[at] = isId ? static_cast<float>(random() % ids[i]->count) : static_cast<float>(random() % 2001) / 1000.0f - 1;
    }
  }
  return tensors;
}

// All tensors after the run.
Tensors run(const Program& program, bool alias, std::int32_t threads) {
  Tensors tensors = tensorsFor(program);
  std::vector<float*> places;
  for (std::vector<float>& values : tensors) places.push_back(values.empty() ? nullptr : values.data());
  std::vector<double> beginUs(program.ops()), endUs(program.ops()), busyUs(program.ops());
  RunTrace trace{beginUs, endUs, busyUs};
  RunOptions options;
  options.inputs.bf16 = program.problem.bf16;
  options.isa = program.problem.bf16 ? bestIsaForBf16() : bestIsa();
  options.alias = alias;
  options.threadsPerRank = threads;
  options.tensors = places;
  // So small that several threads share every batch of tiles.
  options.pieceWork = 1e5;
  Cancellation cancellation;
  runProgram(program, options, {}, trace, cancellation);
  return tensors;
}

bool sameBits(const Tensors& a, const Tensors& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].empty() && std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0) return false;
  }
  return true;
}

bool runFile(const char* path) {
  const ProgramFile file = ProgramFile::read(path);
  const Program program = file.program();
  checkProgram(program);
  const Tensors lent = run(program, true, 1);
  const bool same =
      sameBits(lent, run(program, false, 1)) && sameBits(lent, run(program, false, 3)) && sameBits(lent, run(program, true, 3));
  // What nothing was computed into would be the same in every run.
  std::size_t outputs = 0, computed = 0;
  for (std::size_t i = 0; i < lent.size(); ++i) {
    if (program.tensor.role[i] != 1) continue;
    ++outputs;
    computed += sameBits({lent[i]}, {std::vector<float>(lent[i].size())}) ? 0 : 1;
  }
  const bool good = same && outputs > 0 && computed == outputs;
  std::printf("%s %s: %d ranks, %d ops, %zu of %zu outputs computed%s\n", good ? "ok    " : "FAILED", path, program.ranks(),
              program.ops(), computed, outputs, same ? "" : ", other bits with copies or threads");
  return good;
}

}  // namespace

int main(int argc, char** argv) { return runFiles(argc, argv, runFile); }
