#include "hsap/program.h"

#include <algorithm>
#include <cmath>

#include "program/checks.h"

namespace hsap {

void checkProgram(const Program& program) {
  checkColumns(program);
  checkTensors(program);
  checkRegions(program);
  checkOps(program);
  checkOperandShapes(program);
  checkLayerOps(program);
  checkProgress(program);
}

const char* opKindName(OpKind kind) {
  static constexpr const char* names[opKindCount] = {"send",
                                                     "recv",
                                                     "attend",
                                                     "merge",
                                                     "reduce",
                                                     "copy",
                                                     "score",
                                                     "softmax",
                                                     "weigh",
                                                     "unscore",
                                                     "linear",
                                                     "linearInputGradient",
                                                     "linearWeightGradient",
                                                     "rmsNorm",
                                                     "rmsNormGradient",
                                                     "rotary",
                                                     "rotaryGradient",
                                                     "swiglu",
                                                     "swigluGradient",
                                                     "add",
                                                     "rowDot",
                                                     "embed",
                                                     "embedGradient",
                                                     "crossEntropy",
                                                     "rowLogSumExp",
                                                     "splitCrossEntropy"};
  const auto code = static_cast<std::uint8_t>(kind);
  return code < opKindCount ? names[code] : "unknown";
}

std::string boxText(const Box& box) {
  std::ostringstream text;
  text << "[" << box.tokenBegin << ":" << box.tokenEnd << " h" << box.headBegin << ":" << box.headEnd << "]";
  return text.str();
}

std::int64_t Program::heldBytes(std::int32_t regionRow) const {
  const std::int32_t index = region.tensor[regionRow];
  const Box box = regionBox(regionRow);
  return static_cast<std::int64_t>(bytesOf(storedTypeOf(index))) * box.tokens() * box.heads() * tensor.width[index];
}

std::int32_t rankOfOp(const Program& program, std::int32_t row) {
  const auto& begin = program.rank.opBegin;
  return static_cast<std::int32_t>(std::upper_bound(begin.begin(), begin.end(), row) - begin.begin()) - 1;
}

std::string opText(const Program& program, std::int32_t row) {
  const std::int32_t rank = rankOfOp(program, row);
  std::ostringstream text;
  text << "rank " << rank << ", op " << row - program.rank.opBegin[rank] << " (" << opKindName(program.kindOf(row)) << ")";
  return text.str();
}

namespace {

// Whole numbers of bytes are exact in a double up to here.
constexpr double largestBytes = 9.0e15;
// Rows, heads or columns: sums of two such numbers fit an int32.
constexpr std::int64_t largestExtent = std::int64_t{1} << 30;

template <typename T>
void expectLength(const char* name, std::span<const T> column, std::size_t length) {
  if (column.size() != length) refuse("column ", name, " has ", column.size(), " rows (must have ", length, ")");
}

void expectRanges(const char* name, std::span<const std::int32_t> begin, std::size_t end) {
  if (begin.empty() || begin.front() != 0) refuse(name, " must start with 0");
  for (std::size_t i = 1; i < begin.size(); ++i) {
    if (begin[i] < begin[i - 1]) refuse(name, " falls from ", begin[i - 1], " to ", begin[i], " at row ", i);
  }
  if (static_cast<std::size_t>(begin.back()) != end) refuse(name, " ends at ", begin.back(), " (must end at ", end, ")");
}

void checkProblem(const AttentionProblem& problem) {
  if (problem.heads < 1 || problem.kvHeads < 1 || problem.headDim < 1 || problem.heads % problem.kvHeads != 0)
    refuse("shape of ", problem.heads, " heads, ", problem.kvHeads, " kv heads, headDim ", problem.headDim);
  const auto& cuSeqlens = problem.cuSeqlens;
  if (cuSeqlens.size() < 2 || cuSeqlens.front() != 0) refuse("cuSeqlens must start with 0 and hold a document");
  for (std::size_t i = 1; i < cuSeqlens.size(); ++i) {
    if (cuSeqlens[i] <= cuSeqlens[i - 1]) refuse("cuSeqlens does not ascend at row ", i, ": ", cuSeqlens[i]);
  }
}

// Heads and width that the engine relies on where it fills an input or gathers an output; other tensors are the strategy's own.
void expectShape(const Program& program, std::size_t index) {
  const auto& [heads, kvHeads, headDim, bf16, causal, backward, cuSeqlens] = program.problem;
  std::int32_t expectedHeads = heads, expectedWidth = headDim;
  switch (static_cast<TensorCode>(program.tensor.code[index])) {
    case TensorCode::q:
    case TensorCode::o:
    case TensorCode::dO:
    case TensorCode::dq:
      break;
    case TensorCode::k:
    case TensorCode::v:
    case TensorCode::dk:
    case TensorCode::dv:
      expectedHeads = kvHeads;
      break;
    case TensorCode::lse:
    case TensorCode::delta:
      expectedWidth = 1;
      break;
    default:
      return;
  }
  if (program.tensor.heads[index] != expectedHeads || program.tensor.width[index] != expectedWidth)
    refuse("tensor ", index, " has ", program.tensor.heads[index], " heads of width ", program.tensor.width[index],
           " (must have ", expectedHeads, " of ", expectedWidth, ")");
}

// A box of at least one token and head within 0..tokens and 0..heads.
bool isBoxWithin(const Box& box, std::int64_t tokens, std::int32_t heads) {
  return 0 <= box.tokenBegin && box.tokenBegin < box.tokenEnd && box.tokenEnd <= tokens && 0 <= box.headBegin &&
         box.headBegin < box.headEnd && box.headEnd <= heads;
}

}  // namespace

void checkColumns(const Program& program) {
  const auto& [problem, rank, tensor, region, owned, op, operand] = program;
  checkProblem(problem);
  if (rank.arenaBytes.empty()) refuse("0 ranks (must have at least 1)");
  expectLength("rank.opBegin", rank.opBegin, rank.arenaBytes.size() + 1);
  expectLength("rank.regionBegin", rank.regionBegin, rank.arenaBytes.size() + 1);
  expectLength("tensor.heads", tensor.heads, tensor.code.size());
  expectLength("tensor.width", tensor.width, tensor.code.size());
  expectLength("tensor.dtype", tensor.dtype, tensor.code.size());
  expectLength("tensor.role", tensor.role, tensor.code.size());
  expectLength("tensor.accumulates", tensor.accumulates, tensor.code.size());
  if (!tensor.rows.empty()) expectLength("tensor.rows", tensor.rows, tensor.code.size());
  const std::size_t regions = region.tensor.size();
  expectLength("region.part", region.part, regions);
  expectLength("region.tokenBegin", region.tokenBegin, regions);
  expectLength("region.tokenEnd", region.tokenEnd, regions);
  expectLength("region.headBegin", region.headBegin, regions);
  expectLength("region.headEnd", region.headEnd, regions);
  expectLength("region.offset", region.offset, regions);
  expectLength("region.flags", region.flags, regions);
  expectLength("region.initOp", region.initOp, regions);
  expectLength("owned.tokenBegin", owned.tokenBegin, owned.region.size());
  expectLength("owned.tokenEnd", owned.tokenEnd, owned.region.size());
  const std::size_t ops = op.kind.size();
  expectLength("op.attribute", op.attribute, ops);
  expectLength("op.peer", op.peer, ops);
  expectLength("op.group", op.group, ops);
  expectLength("op.waitFor", op.waitFor, ops);
  expectLength("op.operandBegin", op.operandBegin, ops + 1);
  const std::size_t operands = operand.region.size();
  expectLength("operand.tokenBegin", operand.tokenBegin, operands);
  expectLength("operand.tokenEnd", operand.tokenEnd, operands);
  expectLength("operand.headBegin", operand.headBegin, operands);
  expectLength("operand.headEnd", operand.headEnd, operands);
  expectRanges("rank.opBegin", rank.opBegin, ops);
  expectRanges("rank.regionBegin", rank.regionBegin, regions);
  expectRanges("op.operandBegin", op.operandBegin, operands);
}

void checkTensors(const Program& program) {
  const auto& tensor = program.tensor;
  for (std::size_t i = 0; i < tensor.code.size(); ++i) {
    if (tensor.code[i] < 0) refuse("tensor ", i, " has code ", tensor.code[i]);
    if (tensor.heads[i] < 1 || tensor.width[i] < 1)
      refuse("tensor ", i, " has ", tensor.heads[i], " heads of width ", tensor.width[i]);
    const std::int64_t rows = program.rowsOf(static_cast<std::int32_t>(i));
    if (rows < 1) refuse("tensor ", i, " has ", rows, " rows");
    if (std::max<std::int64_t>({rows, tensor.heads[i], tensor.width[i]}) > largestExtent ||
        4.0 * static_cast<double>(rows) * tensor.heads[i] * tensor.width[i] > largestBytes)
      refuse("tensor ", i, " has ", rows, " rows and ", tensor.heads[i], " heads of width ", tensor.width[i],
             " (must be at most ", largestExtent, " each, and ", largestBytes, " bytes in all)");
    if (tensor.dtype[i] > 1 || tensor.role[i] > 2 || tensor.accumulates[i] > 1)
      refuse("tensor ", i, " has dtype ", +tensor.dtype[i], ", role ", +tensor.role[i], ", accumulates ", +tensor.accumulates[i]);
    expectShape(program, i);
  }
}

void checkRegions(const Program& program) {
  const auto& [problem, rankTable, tensor, region, owned, op, operand] = program;
  for (std::int32_t rank = 0; rank < program.ranks(); ++rank) {
    const double arena = rankTable.arenaBytes[rank];
    if (!(arena >= 0 && arena <= largestBytes && arena == std::floor(arena)))
      refuse("rank ", rank, " has an arena of ", arena, " bytes");
    for (std::int32_t row = rankTable.regionBegin[rank]; row < rankTable.regionBegin[rank + 1]; ++row) {
      const std::int32_t index = region.tensor[row];
      if (index < 0 || static_cast<std::size_t>(index) >= tensor.code.size()) refuse("region ", row, " is of tensor ", index);
      const Box box = program.regionBox(row);
      if (!isBoxWithin(box, program.rowsOf(index), tensor.heads[index]))
        refuse("region ", row, " is ", boxText(box), " of ", program.rowsOf(index), " rows and ", tensor.heads[index], " heads");
      const double offset = region.offset[row], bytes = static_cast<double>(program.heldBytes(row));
      if (!(offset >= 0 && offset == std::floor(offset / 64) * 64 && offset + bytes <= arena))
        refuse("region ", row, " at offset ", offset, " with ", bytes, " bytes (must be a multiple of 64 within ", arena, ")");
      const std::int32_t init = region.initOp[row];
      if (init < -2 || (init >= 0 && init < rankTable.opBegin[rank]) || init >= rankTable.opBegin[rank + 1])
        refuse("region ", row, " of rank ", rank, " is set empty at op row ", init);
      if (region.flags[row] < 0 || region.flags[row] > 7) refuse("region ", row, " has flags ", region.flags[row]);
    }
  }
  for (std::size_t i = 0; i < owned.region.size(); ++i) {
    const std::int32_t row = owned.region[i];
    if (row < 0 || row >= program.regions()) refuse("owned row ", i, " is of region ", row);
    if (owned.tokenBegin[i] < region.tokenBegin[row] || owned.tokenEnd[i] > region.tokenEnd[row] ||
        owned.tokenBegin[i] > owned.tokenEnd[i])
      refuse("owned row ", i, " has tokens ", owned.tokenBegin[i], ":", owned.tokenEnd[i], " of region ",
             boxText(program.regionBox(row)));
  }
}

}  // namespace hsap
