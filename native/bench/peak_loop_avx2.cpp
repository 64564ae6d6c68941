#include "peak_loop.h"
#include "vectors/simd_avx2.h"

namespace hsap::bench {

double peakLoopAvx2(std::size_t iterations) { return runPeakLoop<Avx2>(iterations); }

}  // namespace hsap::bench
