#include "kernel_sets.h"
#include "tiles/backward.h"
#include "tiles/forward.h"
#include "tiles/merge.h"
#include "vectors/exp2.h"
#include "vectors/simd_avx2.h"

namespace hsap {

const Kernels avx2Kernels{
    Isa::avx2,           forwardTiles<Avx2>, backwardTiles<Avx2>, forwardTiles<Avx2>,
    backwardTiles<Avx2>, mergeRows<Avx2>,    reduceRows<Avx2>,    exp2Array<Avx2>,
};

}  // namespace hsap
