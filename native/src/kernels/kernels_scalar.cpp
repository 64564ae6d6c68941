#include "backward.h"
#include "exp2.h"
#include "forward.h"
#include "kernel_sets.h"
#include "merge.h"
#include "simd_portable.h"

namespace hsap {

const Kernels scalarKernels{
    Isa::scalar,         forwardTiles<Portable>, backwardTiles<Portable>, forwardTiles<Portable>, backwardTiles<Portable>,
    mergeRows<Portable>, reduceRows<Portable>,   exp2Array<Portable>,
};

}  // namespace hsap
