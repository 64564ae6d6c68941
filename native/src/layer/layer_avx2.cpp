#include "kernels/vectors/simd_avx2.h"
#include "layer_sets.h"
#include "product.h"
#include "rows.h"

namespace hsap {

const LayerKernels avx2LayerKernels{
    Isa::avx2,
    multiplyAdd<Avx2, WidenedFactors<Avx2>>,
    rmsNorm<Avx2>,
    rmsNormGradient<Avx2>,
    turn<Avx2>,
    swiglu<Avx2>,
    swigluGradient<Avx2>,
    add<Avx2>,
    dot<Avx2>,
    crossEntropy<Avx2>,
    logSumExp<Avx2>,
    crossEntropyShare<Avx2>,
    convert,
    convert,
    convert,
    adamW<Avx2>,
};

}  // namespace hsap
