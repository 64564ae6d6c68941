#include "peak_loop.h"
#include "vectors/simd_avx512.h"

namespace hsap::bench {

double peakLoopAvx512(std::size_t iterations) { return runPeakLoop<Avx512>(iterations); }

}  // namespace hsap::bench
