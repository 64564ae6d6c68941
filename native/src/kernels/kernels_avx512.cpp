#include "kernel_sets.h"
#include "tiles/backward.h"
#include "tiles/forward.h"
#include "tiles/merge.h"
#include "vectors/exp2.h"
#include "vectors/simd_avx512.h"

namespace hsap {

const Kernels avx512Kernels{
    Isa::avx512,           forwardTiles<Avx512>, backwardTiles<Avx512>, forwardTiles<Avx512>,
    backwardTiles<Avx512>, mergeRows<Avx512>,    reduceRows<Avx512>,    exp2Array<Avx512>,
};

}  // namespace hsap
