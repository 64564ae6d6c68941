// The floor of every kernel's time: how many multiply-adds the processor finishes when nothing but registers is involved.
#pragma once

#include <cstddef>

namespace hsap::bench {

// Runs `iterations` rounds of independent multiply-adds and returns how many floating-point operations they were.
using PeakLoop = double (*)(std::size_t iterations);

double peakLoopScalar(std::size_t iterations);
double peakLoopAvx2(std::size_t iterations);
double peakLoopAvx512(std::size_t iterations);

// As many accumulators as a register tile of the kernels has, each its own chain: more than latency times throughput of any unit.
// The empty asm hides the values from the compiler, which can then neither fold nor hoist, and costs no instruction.
template <class Simd>
double runPeakLoop(std::size_t iterations) {
  constexpr int chains = Simd::tileRows * 2;
  typename Simd::F sum[chains], a = Simd::set1(0.999f), b = Simd::set1(1e-3f);
  for (auto& x : sum) x = Simd::set1(1);
  for (std::size_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) sum[c] = Simd::fma(sum[c], a, b);
  }
  for (auto& x : sum) asm volatile("" : : "x"(x));
  return 2.0 * chains * Simd::width * static_cast<double>(iterations);
}

}  // namespace hsap::bench
