// Checks of the ops and their operands.
#include <vector>

#include "program/checks.h"

namespace hsap {

namespace {

void checkOp(const Program& program, std::int32_t rank, std::int32_t row) {
  const auto& op = program.op;
  if (op.kind[row] >= opKindCount) refuse("rank ", rank, ", op row ", row, " has kind ", +op.kind[row]);
  const bool communicates = isCommunication(program.kindOf(row));
  if (op.attribute[row] >= (communicates ? groupKindCount : tileMaskCount))
    refuse(opText(program, row), " has attribute ", +op.attribute[row]);
  if (communicates && (op.peer[row] < 0 || op.peer[row] >= program.ranks() || op.peer[row] == rank))
    refuse(opText(program, row), " has peer ", op.peer[row], " (must be another of ", program.ranks(), " ranks)");
  for (std::int32_t i = op.operandBegin[row]; i < op.operandBegin[row + 1]; ++i) {
    const std::int32_t region = program.operand.region[i];
    if (region < program.rank.regionBegin[rank] || region >= program.rank.regionBegin[rank + 1])
      refuse(opText(program, row), " has an operand in region ", region, ", which is not of its rank");
    const Box box = program.operandBox(i), around = program.regionBox(region);
    if (box.tokens() < 1 || box.heads() < 1 || !around.holds(box))
      refuse(opText(program, row), " has operand ", boxText(box), " of region ", boxText(around));
  }
}

// Groups are numbered 0, 1, ... and their rows carry one wait; waits count items that the other lane has.
void checkLanes(const Program& program, std::int32_t rank) {
  const auto& op = program.op;
  const std::int32_t begin = program.rank.opBegin[rank], end = program.rank.opBegin[rank + 1];
  std::int32_t groups = 0, computations = 0, groupWait = 0;
  for (std::int32_t row = begin; row < end; ++row) {
    if (!isCommunication(program.kindOf(row))) {
      ++computations;
      continue;
    }
    const bool opens = op.group[row] == groups;
    if (!opens && (groups == 0 || op.group[row] != groups - 1))
      refuse(opText(program, row), " is of group ", op.group[row], " (must be ", groups, ")");
    if (opens) {
      ++groups;
      groupWait = op.waitFor[row];
    } else if (op.waitFor[row] != groupWait) {
      refuse(opText(program, row), " waits for ", op.waitFor[row], " (its group waits for ", groupWait, ")");
    }
  }
  for (std::int32_t row = begin; row < end; ++row) {
    const std::int32_t items = isCommunication(program.kindOf(row)) ? computations : groups;
    if (op.waitFor[row] < 0 || op.waitFor[row] > items)
      refuse(opText(program, row), " waits for ", op.waitFor[row], " (the other lane has ", items, ")");
  }
}

// A handed-over region is written by one receive that covers it, and by nobody else: only then may it be an alias.
void checkHandedOver(const Program& program) {
  std::vector<bool> received(program.region.tensor.size());
  for (std::int32_t row = 0; row < program.ops(); ++row) {
    if (program.kindOf(row) != OpKind::recv) continue;
    for (std::int32_t i = program.op.operandBegin[row]; i < program.op.operandBegin[row + 1]; ++i) {
      const std::int32_t region = program.operand.region[i];
      if ((program.region.flags[region] & regionHandedOver) == 0) continue;
      if (received[region] || program.operandBox(i) != program.regionBox(region))
        refuse(opText(program, row), " fills ", boxText(program.operandBox(i)), " of a handed-over region ",
               boxText(program.regionBox(region)), " (must fill all of it, once)");
      received[region] = true;
    }
  }
}

// Reads the operands of one op and refuses what its kind cannot work with.
class ShapeCheck {
 public:
  ShapeCheck(const Program& program, std::int32_t row)
      : program_(program), row_(row), first_(program.op.operandBegin[row]), count_(program.operandsOf(row)) {}

  void run() const {
    const bool backward = program_.problem.backward;
    switch (program_.kindOf(row_)) {
      case OpKind::send:
      case OpKind::recv:
        return;
      case OpKind::attend:
        return backward ? attendBackward() : attendForward();
      case OpKind::merge:
        return merge();
      case OpKind::reduce:
        atLeast(1);
        isFp32(0);
        for (std::int32_t i = 1; i < count_; ++i) folds(i, 0), isFp32(i);
        return;
      case OpKind::copy:
        exactly(2);
        return folds(0, 1);
      case OpKind::score:
        return score();
      case OpKind::softmax:
        return softmax();
      case OpKind::weigh:
        return backward ? weighBackward() : weighForward();
      case OpKind::unscore:
        return unscore();
      default:
        return;  // an op of a layer: see checkLayerOps
    }
  }

 private:
  Box box(std::int32_t i) const { return program_.operandBox(first_ + i); }
  std::int32_t width(std::int32_t i) const { return program_.widthOf(first_ + i); }
  std::int32_t tensorHeads(std::int32_t i) const { return program_.tensor.heads[program_.tensorOf(first_ + i)]; }
  bool isInput(std::int32_t i) const { return program_.tensor.role[program_.tensorOf(first_ + i)] == 0; }

  template <typename... Parts>
  [[noreturn]] void refuseOp(const Parts&... parts) const {
    refuse(opText(program_, row_), " ", parts...);
  }

  void exactly(std::int32_t count) const {
    if (count_ != count) refuseOp("has ", count_, " operands (must have ", count, ")");
  }
  void atLeast(std::int32_t count) const {
    if (count_ < count) refuseOp("has ", count_, " operands (must have at least ", count, ")");
  }
  void hasWidth(std::int32_t i, std::int32_t expected) const {
    if (width(i) != expected) refuseOp("has operand ", i, " of width ", width(i), " (must be ", expected, ")");
  }
  // Operand i covers the same tokens and heads as operand j, of a tensor with as many heads.
  void like(std::int32_t i, std::int32_t j, std::int32_t expectedWidth) const {
    hasWidth(i, expectedWidth);
    if (box(i) != box(j) || tensorHeads(i) != tensorHeads(j))
      refuseOp("has operand ", i, " ", boxText(box(i)), " beside ", boxText(box(j)));
  }
  // Operand `many` covers the tokens of operand `few`, with a multiple of its heads.
  void folds(std::int32_t many, std::int32_t few) const {
    hasWidth(many, width(few));
    const Box a = box(many), b = box(few);
    if (a.tokenBegin != b.tokenBegin || a.tokenEnd != b.tokenEnd || a.heads() % b.heads() != 0)
      refuseOp("has operand ", many, " ", boxText(a), " beside ", boxText(b),
               " (must have its tokens and a multiple of its heads)");
  }
  // Query heads of operand q read kv heads of operand k: group g of k's heads serves the same g-th part of q's heads.
  void groups(std::int32_t q, std::int32_t k) const {
    const std::int32_t headsQ = tensorHeads(q), headsK = tensorHeads(k);
    if (headsQ % headsK != 0) refuseOp("has ", headsQ, " query heads over ", headsK, " kv heads");
    const std::int32_t size = headsQ / headsK;
    if (box(q).headBegin / size < box(k).headBegin || (box(q).headEnd + size - 1) / size > box(k).headEnd)
      refuseOp("has query heads ", boxText(box(q)), " without their kv heads ", boxText(box(k)));
  }
  void writes(std::int32_t i) const {
    if (isInput(i)) refuseOp("writes operand ", i, ", an input");
  }
  ElementType storedType(std::int32_t i) const { return program_.storedTypeOf(program_.tensorOf(first_ + i)); }
  // Sums, and what is one number for each row, are fp32 in memory.
  void isFp32(std::int32_t i) const {
    if (storedType(i) != ElementType::fp32) refuseOp("has operand ", i, " stored as bf16 (must be fp32)");
  }
  void storedLike(std::int32_t i, std::int32_t j) const {
    if (storedType(i) != storedType(j)) refuseOp("has operands ", j, " and ", i, " stored as different types");
  }
  void tile() const {
    if (static_cast<TileMask>(program_.op.attribute[row_]) == TileMask::document)
      refuseOp("has mask document (must be full or causal)");
    const std::int32_t headDim = width(0);
    hasWidth(1, headDim);
    like(2, 1, headDim);
    groups(0, 1);
    storedLike(1, 0), storedLike(2, 0);
  }

  void attendForward() const {
    exactly(5);
    tile();
    like(3, 0, width(0));
    like(4, 0, 1);
    writes(3), writes(4);
    isFp32(3), isFp32(4);
  }
  void attendBackward() const {
    exactly(9);
    tile();
    like(3, 0, width(0));
    like(4, 0, 1);
    like(5, 0, 1);
    like(6, 0, width(0));
    like(7, 1, width(0));
    like(8, 1, width(0));
    writes(6), writes(7), writes(8);
    storedLike(3, 0);
    for (std::int32_t i = 4; i < 9; ++i) isFp32(i);
  }
  void merge() const {
    atLeast(2);
    if (count_ % 2 != 0) refuseOp("has ", count_, " operands (must have pairs of o and lse)");
    for (std::int32_t i = 0; i < count_; i += 2) {
      like(i, 0, width(0));
      like(i + 1, 0, 1);
      isFp32(i), isFp32(i + 1);
    }
    writes(0), writes(1);
  }
  // s holds a row for each query and head, and a column for each key at least.
  void scores(std::int32_t s, std::int32_t q, std::int32_t k) const {
    like(s, q, width(s));
    isFp32(s);
    if (width(s) < box(k).tokens()) refuseOp("has ", box(k).tokens(), " keys for scores of width ", width(s));
    groups(q, k);
  }
  void score() const {
    exactly(3);
    hasWidth(1, width(0));
    scores(2, 0, 1);
    writes(2);
  }
  void softmax() const {
    atLeast(2);
    hasWidth(0, 1);
    isFp32(0);
    for (std::int32_t i = 1; i < count_; ++i) {
      like(i, 0, width(i));
      writes(i);
      isFp32(i);
    }
    if (!program_.problem.backward) writes(0);
  }
  void weighForward() const {
    exactly(3);
    hasWidth(2, width(1));
    scores(0, 2, 1);
    writes(2);
    isFp32(2);
  }
  void weighBackward() const {
    exactly(5);
    hasWidth(2, width(1));
    scores(0, 2, 1);
    like(3, 2, 1);
    like(4, 1, width(1));
    writes(0), writes(4);
    isFp32(3), isFp32(4);
  }
  void unscore() const {
    exactly(5);
    hasWidth(2, width(1));
    scores(0, 1, 2);
    like(3, 1, width(1));
    like(4, 2, width(1));
    writes(3), writes(4);
    isFp32(3), isFp32(4);
  }

  const Program& program_;
  std::int32_t row_, first_, count_;
};

}  // namespace

void checkOps(const Program& program) {
  for (std::int32_t rank = 0; rank < program.ranks(); ++rank) {
    for (std::int32_t row = program.rank.opBegin[rank]; row < program.rank.opBegin[rank + 1]; ++row) checkOp(program, rank, row);
    checkLanes(program, rank);
  }
  checkHandedOver(program);
}

void checkOperandShapes(const Program& program) {
  for (std::int32_t row = 0; row < program.ops(); ++row) ShapeCheck(program, row).run();
}

}  // namespace hsap
