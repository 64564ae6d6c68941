// The floor of every kernel's time: how many multiply-adds the processor finishes when nothing but registers is involved.
#pragma once

#include <cstddef>

namespace hsap::bench {

// Runs `iterations` rounds of independent multiply-adds and returns how many floating-point operations they were.
using PeakLoop = double (*)(std::size_t iterations);

double peakLoopScalar(std::size_t iterations);
double peakLoopAvx2(std::size_t iterations);
double peakLoopAvx512(std::size_t iterations);
double peakLoopAvx512Bf16(std::size_t iterations);

// As many accumulators as a register tile of the kernels has, each its own chain: more than latency times throughput of any unit.
// Every loop over them is unrolled, or they would live in memory and the peak would read half of what it is. The empty asms cost
// no instruction. They hide from the compiler that all chains begin alike, or it would keep one for all, and what the factors
// are, or it would hoist their product. Sums stop growing once a product is below half of their last place, so nothing overflows.
// That all this holds is tested on the disassembly (test/peak_loop_test.cpp).
template <class Simd>
[[gnu::noinline]] double runPeakLoop(std::size_t iterations) {
  using F = typename Simd::F;
  constexpr int chains = Simd::tileRows * 2;
  F sum[chains], a = Simd::set1(0.5f), b = Simd::set1(1e-3f);
#pragma GCC unroll 32
  for (int c = 0; c < chains; ++c) {
    sum[c] = Simd::set1(1);
    asm volatile("" : "+x"(sum[c]));
  }
#pragma GCC unroll 1
  for (std::size_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; ++c) {
      asm volatile("" : "+x"(a));
      Simd::accumulate(sum[c], a, b);
    }
  }
  F total = sum[0];
#pragma GCC unroll 32
  for (int c = 1; c < chains; ++c) total = Simd::add(total, sum[c]);
  volatile float used = Simd::sumLanes(total);
  static_cast<void>(used);
  return 2.0 * Simd::packed * chains * Simd::width * static_cast<double>(iterations);
}

}  // namespace hsap::bench
