// An operand of a layer's op as it lies in memory.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "hsap/layer.h"
#include "hsap/program.h"

namespace hsap {

// A block with its place in global coordinates. What accumulates is held as fp32.
struct LayerBlock {
  BlockView view;
  Box box;
  std::int32_t width = 0;
  bool accumulates = true;   // otherwise the op sets it
  bool isSumOfBf16 = false;  // held as fp32 while it is added to; what it has come to is a bf16 number to whoever reads it

  bool isBf16() const { return view.type == ElementType::bf16; }
  template <class Element>
  Element* row(std::int64_t row, std::int64_t group) const {
    return view.at(row, group).template as<Element>().data;
  }
  std::int64_t columns() const { return std::int64_t{box.heads()} * width; }
  Matrix matrix() const {
    Matrix matrix = matrixOf(view, box.tokens(), box.heads(), width);
    matrix.readsAsBf16 = isSumOfBf16;
    return matrix;
  }
};

}  // namespace hsap
