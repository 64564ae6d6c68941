#include "kernels/vectors/simd_avx512.h"
#include "layer_sets.h"
#include "product.h"
#include "rows.h"

namespace hsap {

const LayerKernels avx512LayerKernels{
    Isa::avx512,
    multiplyAdd<Avx512, WidenedFactors<Avx512>>,
    rmsNorm<Avx512>,
    rmsNormGradient<Avx512>,
    turn<Avx512>,
    swiglu<Avx512>,
    swigluGradient<Avx512>,
    add<Avx512>,
    dot<Avx512>,
    crossEntropy<Avx512>,
    logSumExp<Avx512>,
    crossEntropyShare<Avx512>,
    convert,
    convert,
    convert,
    adamW<Avx512>,
};

}  // namespace hsap
