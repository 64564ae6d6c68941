#include "kernels/vectors/simd_portable.h"
#include "layer_sets.h"
#include "product.h"
#include "rows.h"

namespace hsap {

const LayerKernels scalarLayerKernels{
    Isa::scalar,
    multiplyAdd<Portable, WidenedFactors<Portable>>,
    rmsNorm<Portable>,
    rmsNormGradient<Portable>,
    turn<Portable>,
    swiglu<Portable>,
    swigluGradient<Portable>,
    add<Portable>,
    dot<Portable>,
    crossEntropy<Portable>,
    logSumExp<Portable>,
    crossEntropyShare<Portable>,
    convert,
    convert,
    convert,
    adamW<Portable>,
};

}  // namespace hsap
