#include "peak_loop.h"
#include "vectors/simd_portable.h"

namespace hsap::bench {

double peakLoopScalar(std::size_t iterations) { return runPeakLoop<Portable>(iterations); }

}  // namespace hsap::bench
