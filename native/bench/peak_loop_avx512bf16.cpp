#include "peak_loop.h"
#include "vectors/simd_avx512bf16.h"

namespace hsap::bench {

double peakLoopAvx512Bf16(std::size_t iterations) { return runPeakLoop<Avx512Bf16>(iterations); }

}  // namespace hsap::bench
