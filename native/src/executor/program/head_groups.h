// Which kv head serves a query head of an op, both counted from the first of their blocks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "hsap/program.h"

namespace hsap {

struct HeadGroups {
  // Query heads of a kv head, and how many of those of the first one stand before the block.
  std::int32_t size = 1, offset = 0;

  std::int32_t kvHead(std::int32_t head) const { return (head + offset) / size; }
  // Where the query heads of the same kv head end, of `heads` in the block.
  std::int32_t groupEnd(std::int32_t head, std::int32_t heads) const {
    return std::min(heads, (kvHead(head) + 1) * size - offset);
  }
  // For blocks that begin with this query head and its kv head.
  HeadGroups from(std::int32_t head) const { return {size, head + offset - kvHead(head) * size}; }
};

// For a query head of operand `qOperand` and kv heads of operand `kOperand`, rows of the operand table.
inline HeadGroups headGroupsOf(const Program& program, std::int32_t qOperand, std::int32_t kOperand) {
  const std::int32_t size = program.tensor.heads[program.tensorOf(qOperand)] / program.tensor.heads[program.tensorOf(kOperand)];
  return {size, program.operand.headBegin[qOperand] - program.operand.headBegin[kOperand] * size};
}

}  // namespace hsap
