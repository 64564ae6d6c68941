#include "backward.h"
#include "exp2.h"
#include "forward.h"
#include "kernel_sets.h"
#include "merge.h"
#include "simd_avx512.h"

namespace hsap {

const Kernels avx512Kernels{
    Isa::avx512,           forwardTiles<Avx512>, backwardTiles<Avx512>, forwardTiles<Avx512>,
    backwardTiles<Avx512>, mergeRows<Avx512>,    reduceRows<Avx512>,    exp2Array<Avx512>,
};

}  // namespace hsap
