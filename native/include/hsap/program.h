// A lowered schedule as the engine reads it: columns, in the order of ranks and of each rank's issue order.
//
// The columns are those of LoweredSchedule in packages/schedule; they are read where they lie. checkProgram looks at every
// index once, so that the executor may follow them blindly: a corrupt program is an error, never a crash or a hang.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "hsap/block_view.h"

namespace hsap {

// Codes are those of `opKinds` in packages/schedule; append only.
enum class OpKind : std::uint8_t {
  send,
  recv,
  attend,
  merge,
  reduce,
  copy,
  score,
  softmax,
  weigh,
  unscore,
  // The ops of a transformer layer, in the order of `layerOpShapes` in packages/schedule.
  linear,
  linearInputGradient,
  linearWeightGradient,
  rmsNorm,
  rmsNormGradient,
  rotary,
  rotaryGradient,
  swiglu,
  swigluGradient,
  add,
  rowDot,
  embed,
  embedGradient,
  crossEntropy,
  rowLogSumExp,
  splitCrossEntropy
};
inline constexpr std::uint8_t opKindCount = 26;

constexpr bool isLayerOp(OpKind kind) { return kind >= OpKind::linear; }

constexpr bool isCommunication(OpKind kind) { return kind == OpKind::send || kind == OpKind::recv; }
const char* opKindName(OpKind kind);

// Codes are those of `tileMasks` in packages/schedule; append only.
enum class TileMask : std::uint8_t { full, causal, document };
inline constexpr std::uint8_t tileMaskCount = 3, groupKindCount = 5;

// Tensors the engine knows by meaning: `tensorNames` in packages/schedule. A strategy's own tensors have higher codes.
enum class TensorCode : std::int32_t { q, k, v, o, lse, dO, delta, dq, dk, dv, s, kx, vx, dkx, dvx };

inline constexpr std::int32_t regionInput = 1, regionOutput = 2, regionHandedOver = 4;

// What the engine has to know of a problem. Query head h reads kv head h / (heads / kvHeads).
struct AttentionProblem {
  std::int32_t heads = 0, kvHeads = 0, headDim = 0;
  bool bf16 = false, causal = true, backward = false;
  std::span<const std::int32_t> cuSeqlens;  // documents + 1 entries, ascending from 0

  std::int64_t tokens() const { return cuSeqlens.empty() ? 0 : cuSeqlens.back(); }
};

// Tokens [tokenBegin, tokenEnd) and heads [headBegin, headEnd) of a region or operand.
struct Box {
  std::int32_t tokenBegin = 0, tokenEnd = 0, headBegin = 0, headEnd = 0;

  std::int32_t tokens() const { return tokenEnd - tokenBegin; }
  std::int32_t heads() const { return headEnd - headBegin; }
  bool holds(const Box& other) const {
    return tokenBegin <= other.tokenBegin && other.tokenEnd <= tokenEnd && headBegin <= other.headBegin &&
           other.headEnd <= headEnd;
  }
  bool operator==(const Box&) const = default;
};

std::string boxText(const Box& box);  // [0:128 h0:8]

struct Program {
  template <typename T>
  using Column = std::span<const T>;

  AttentionProblem problem;
  struct {
    Column<std::int32_t> opBegin, regionBegin;
    Column<double> arenaBytes;
  } rank;
  struct {
    Column<std::int32_t> code, heads, width;
    Column<std::uint8_t> dtype, role, accumulates;
    Column<std::int32_t> rows = {};  // extent of the first axis; empty where it is the batch's tokens for every tensor
  } tensor;
  struct {
    Column<std::int32_t> tensor, part, tokenBegin, tokenEnd, headBegin, headEnd;
    Column<double> offset;
    Column<std::int32_t> flags, initOp;
  } region;
  struct {
    Column<std::int32_t> region, tokenBegin, tokenEnd;
  } owned;
  struct {
    Column<std::uint8_t> kind, attribute;
    Column<std::int32_t> peer, group, waitFor, operandBegin;
  } op;
  struct {
    Column<std::int32_t> region, tokenBegin, tokenEnd, headBegin, headEnd;
  } operand;

  std::int32_t ranks() const { return static_cast<std::int32_t>(rank.arenaBytes.size()); }
  std::int32_t ops() const { return static_cast<std::int32_t>(op.kind.size()); }
  std::int32_t regions() const { return static_cast<std::int32_t>(region.tensor.size()); }
  OpKind kindOf(std::int32_t row) const { return static_cast<OpKind>(op.kind[row]); }
  std::int32_t operandsOf(std::int32_t row) const { return op.operandBegin[row + 1] - op.operandBegin[row]; }
  std::int32_t tensorOf(std::int32_t operandRow) const { return region.tensor[operand.region[operandRow]]; }
  std::int32_t widthOf(std::int32_t operandRow) const { return tensor.width[tensorOf(operandRow)]; }
  std::int64_t rowsOf(std::int32_t tensorRow) const { return tensor.rows.empty() ? problem.tokens() : tensor.rows[tensorRow]; }
  Box regionBox(std::int32_t row) const {
    return {region.tokenBegin[row], region.tokenEnd[row], region.headBegin[row], region.headEnd[row]};
  }
  Box operandBox(std::int32_t row) const {
    return {operand.tokenBegin[row], operand.tokenEnd[row], operand.headBegin[row], operand.headEnd[row]};
  }
  // How a tensor travels, and how it lies in memory: accumulators as fp32, others as they travel.
  ElementType wireTypeOf(std::int32_t tensorRow) const { return static_cast<ElementType>(tensor.dtype[tensorRow]); }
  ElementType storedTypeOf(std::int32_t tensorRow) const {
    return tensor.accumulates[tensorRow] != 0 ? ElementType::fp32 : wireTypeOf(tensorRow);
  }
  // Bytes of a region in memory.
  std::int64_t heldBytes(std::int32_t regionRow) const;
};

// The program cannot be run. The message is one line that names rank, op and value.
class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws ProgramError unless every index of the program is in range, every op has the operands its kind needs, and the
// programs of all ranks, taken together, come to their end (sends and receives pair up, no lane waits forever).
void checkProgram(const Program& program);

}  // namespace hsap
