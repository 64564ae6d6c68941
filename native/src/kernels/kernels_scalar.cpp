#include "kernel_sets.h"
#include "tiles/backward.h"
#include "tiles/forward.h"
#include "tiles/merge.h"
#include "vectors/exp2.h"
#include "vectors/simd_portable.h"

namespace hsap {

const Kernels scalarKernels{
    Isa::scalar,         forwardTiles<Portable>, backwardTiles<Portable>, forwardTiles<Portable>, backwardTiles<Portable>,
    mergeRows<Portable>, reduceRows<Portable>,   exp2Array<Portable>,
};

}  // namespace hsap
