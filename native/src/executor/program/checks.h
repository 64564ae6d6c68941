// The parts of checkProgram, in the order in which each may rely on those before it.
#pragma once

#include <sstream>

#include "hsap/program.h"

namespace hsap {

// Columns of one table have one length, row ranges ascend and end with their table.
void checkColumns(const Program& program);
void checkTensors(const Program& program);
void checkRegions(const Program& program);
// Kinds, masks, peers, groups and waits in range; each operand inside a region of its own rank.
void checkOps(const Program& program);
// Number, tensors' widths and boxes of the operands of each computation op.
void checkOperandShapes(const Program& program);
// The same for the ops of a layer.
void checkLayerOps(const Program& program);
// Runs the program without data: every group finds its partners with equal boxes, and every wait ends.
void checkProgress(const Program& program);

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream text;
  text << "corrupt program: ";
  (text << ... << parts);
  throw ProgramError(text.str());
}

// The rank whose program holds op `row`.
std::int32_t rankOfOp(const Program& program, std::int32_t row);

// rank 2, op 17 (attend): ops count from 0 within the rank's program.
std::string opText(const Program& program, std::int32_t row);

}  // namespace hsap
