// The layer kernels of each instruction set, each defined in a file compiled for that set only.
#pragma once

#include "hsap/layer.h"

namespace hsap {

extern const LayerKernels scalarLayerKernels;
#ifdef HSAP_X86
extern const LayerKernels avx2LayerKernels, avx512LayerKernels;
#endif

}  // namespace hsap
