// Checks of the operands of a layer's ops.
#include "program/checks.h"

namespace hsap {

namespace {

class LayerOpCheck {
 public:
  LayerOpCheck(const Program& program, std::int32_t row) : program_(program), row_(row), first_(program.op.operandBegin[row]) {}

  void run() const {
    switch (program_.kindOf(row_)) {
      case OpKind::linear:
        exactly(3), written(2);
        return product(2, 0, 1);
      case OpKind::linearInputGradient:
        exactly(3), written(2);
        return product(0, 2, 1);
      case OpKind::linearWeightGradient:
        exactly(3), written(2);
        return product(1, 0, 2);
      case OpKind::rmsNorm:
        exactly(3), written(2);
        like(2, 0);
        return gain(1);
      case OpKind::rmsNormGradient:
        exactly(5), written(3), written(4);
        like(2, 0), like(3, 0), isFp32(4);
        return gain(1), gain(4);
      case OpKind::rotary:
      case OpKind::rotaryGradient:
        exactly(2), written(1);
        if (width(0) % 2 != 0) refuseOp("turns heads of width ", width(0), " (must be even)");
        if (rows(0) != program_.problem.tokens()) refuseOp("turns a tensor of ", rows(0), " rows (must be the tokens)");
        return like(1, 0);
      case OpKind::swiglu:
        exactly(3), written(2);
        return like(1, 0), like(2, 0);
      case OpKind::swigluGradient:
        exactly(5), written(3), written(4);
        return like(1, 0), like(2, 0), like(3, 0), like(4, 0);
      case OpKind::add:
        exactly(2), written(1);
        return like(1, 0);
      case OpKind::rowDot:
        exactly(3), written(2);
        like(1, 0);
        return sameBox(2, 0), hasWidth(2, 1), isFp32(2);
      case OpKind::embed:
        exactly(3), written(2);
        return lookup(0, 1, 2);
      case OpKind::embedGradient:
        exactly(3), written(2), isFp32(2);
        return lookup(0, 2, 1);
      case OpKind::crossEntropy:
        exactly(4), written(2), written(3);
        like(3, 0);
        sameRows(1, 0), hasWidth(1, 2), oneGroup(1), isFp32(1);
        return sameRows(2, 0), hasWidth(2, 1), oneGroup(2), isFp32(2);
      case OpKind::rowLogSumExp:
        exactly(2), written(1);
        return sameBox(1, 0), hasWidth(1, 1), isFp32(1);
      case OpKind::splitCrossEntropy:
        exactly(5), written(3), written(4);
        like(4, 0);
        sameRows(1, 0), hasWidth(1, 2), oneGroup(1), isFp32(1);
        sameRows(2, 0), hasWidth(2, 1), allGroups(2, 0), isFp32(2);
        return sameRows(3, 0), hasWidth(3, 1), oneGroup(3), isFp32(3);
      default:
        return;
    }
  }

 private:
  Box box(std::int32_t i) const { return program_.operandBox(first_ + i); }
  std::int32_t width(std::int32_t i) const { return program_.widthOf(first_ + i); }
  std::int64_t rows(std::int32_t i) const { return program_.rowsOf(program_.tensorOf(first_ + i)); }

  template <typename... Parts>
  [[noreturn]] void refuseOp(const Parts&... parts) const {
    refuse(opText(program_, row_), " ", parts...);
  }

  void exactly(std::int32_t count) const {
    if (program_.operandsOf(row_) != count) refuseOp("has ", program_.operandsOf(row_), " operands (must have ", count, ")");
  }
  void written(std::int32_t i) const {
    if (program_.tensor.role[program_.tensorOf(first_ + i)] == 0) refuseOp("writes operand ", i, ", an input");
  }
  void hasWidth(std::int32_t i, std::int32_t expected) const {
    if (width(i) != expected) refuseOp("has operand ", i, " of width ", width(i), " (must be ", expected, ")");
  }
  // Ids, losses, sums over rows, and what is one number for each row are fp32 in memory; rows and factors may be either.
  void isFp32(std::int32_t i) const {
    if (program_.storedTypeOf(program_.tensorOf(first_ + i)) != ElementType::fp32)
      refuseOp("has operand ", i, " stored as bf16 (must be fp32)");
  }
  void sameBox(std::int32_t i, std::int32_t j) const {
    if (box(i) != box(j)) refuseOp("has operand ", i, " ", boxText(box(i)), " beside ", boxText(box(j)));
  }
  void sameRows(std::int32_t i, std::int32_t j) const {
    const Box a = box(i), b = box(j);
    if (a.tokenBegin != b.tokenBegin || a.tokenEnd != b.tokenEnd)
      refuseOp("has operand ", i, " ", boxText(a), " beside ", boxText(b), " (must have its rows)");
  }
  void like(std::int32_t i, std::int32_t j) const { sameBox(i, j), hasWidth(i, width(j)); }
  void oneGroup(std::int32_t i) const {
    if (box(i).heads() != 1) refuseOp("has operand ", i, " ", boxText(box(i)), " (must be one column group)");
  }
  // All column groups of a tensor that has as many as that of operand j.
  void allGroups(std::int32_t i, std::int32_t j) const {
    const std::int32_t groups = program_.tensor.heads[program_.tensorOf(first_ + j)];
    if (box(i).headBegin != 0 || box(i).headEnd != groups)
      refuseOp("has operand ", i, " ", boxText(box(i)), " (must be all ", groups, " column groups)");
  }
  // y and x have the same rows; the columns of x are the rows of w, the column groups of y are those of w.
  void product(std::int32_t y, std::int32_t x, std::int32_t w) const {
    sameRows(y, x), hasWidth(y, width(w));
    const Box outer = box(y), inner = box(x), weight = box(w);
    if (outer.headBegin != weight.headBegin || outer.headEnd != weight.headEnd)
      refuseOp("has column groups ", boxText(outer), " beside those of ", boxText(weight));
    const std::int64_t size = width(x);
    if (inner.headBegin * size != weight.tokenBegin || inner.headEnd * size != weight.tokenEnd)
      refuseOp("has columns ", inner.headBegin * size, ":", inner.headEnd * size, " for rows ", boxText(weight));
  }
  // One row for each column of operand 0, all of them.
  void gain(std::int32_t i) const {
    hasWidth(i, 1), oneGroup(i);
    const Box g = box(i);
    if (box(0).heads() != 1 || g.tokenBegin != 0 || g.tokenEnd != width(0) || rows(i) != width(0))
      refuseOp("has gains ", boxText(g), " for rows of ", width(0), " columns");
  }
  void lookup(std::int32_t ids, std::int32_t e, std::int32_t y) const {
    hasWidth(ids, 1), oneGroup(ids), isFp32(ids), sameRows(y, ids), hasWidth(y, width(e));
    if (box(y).headBegin != box(e).headBegin || box(y).headEnd != box(e).headEnd)
      refuseOp("has column groups ", boxText(box(y)), " beside those of ", boxText(box(e)));
  }

  const Program& program_;
  std::int32_t row_, first_;
};

}  // namespace

void checkLayerOps(const Program& program) {
  for (std::int32_t row = 0; row < program.ops(); ++row) {
    if (isLayerOp(program.kindOf(row))) LayerOpCheck(program, row).run();
  }
}

}  // namespace hsap
