// The kernel set of each instruction set. Each is defined in a file compiled for that set only; dispatch.cpp alone decides
// whether this processor may call it.
#pragma once

#include "hsap/kernels.h"

namespace hsap {

extern const Kernels scalarKernels;
#ifdef HSAP_X86
extern const Kernels avx2Kernels;
extern const Kernels avx512Kernels;
// What the set of avx512bf16 does differently from that of avx512.
void forwardAvx512Bf16(const Bf16Tile* tiles, std::size_t count, Scratch& scratch);
#endif

}  // namespace hsap
