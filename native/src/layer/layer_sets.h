// The layer kernels of each instruction set, each defined in a file compiled for that set only.
#pragma once

#include "hsap/layer.h"

namespace hsap {

extern const LayerKernels scalarLayerKernels;
#ifdef HSAP_X86
extern const LayerKernels avx2LayerKernels, avx512LayerKernels;
// What the set of avx512bf16 does differently from that of avx512.
void multiplyAddAvx512Bf16(const Matrix& c, const Matrix& a, const Matrix& b, Scratch& scratch, const Checkpoint& checkpoint);
#endif

}  // namespace hsap
