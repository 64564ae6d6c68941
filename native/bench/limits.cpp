#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "cpu_clock.h"
#include "hsap/bench.h"
#include "peak_loop.h"

namespace hsap::bench {

namespace {

PeakLoop peakLoopFor(Isa isa, [[maybe_unused]] DType dtype) {
  if (kernelsFor(isa) == nullptr) throw std::invalid_argument(std::string("unsupported instruction set: ") + isaName(isa));
#ifdef HSAP_X86
  if (isa == Isa::avx2) return peakLoopAvx2;
  if (isa == Isa::avx512bf16 && dtype == DType::bf16) return peakLoopAvx512Bf16;
  if (isa == Isa::avx512 || isa == Isa::avx512bf16) return peakLoopAvx512;
#endif
  return peakLoopScalar;
}

}  // namespace

const char* dtypeName(DType dtype) { return dtype == DType::fp32 ? "fp32" : "bf16"; }

double peakGflops(Isa isa, DType dtype, double minMs) {
  const PeakLoop loop = peakLoopFor(isa, dtype);
  double operations = 0;
  const double start = cpuMs();
  double elapsed = 0;
  while (elapsed < minMs) {
    operations += loop(20000);
    elapsed = cpuMs() - start;
  }
  return operations / elapsed / 1e6;
}

double copyBandwidthGBps() {
  constexpr std::size_t bytes = std::size_t{128} << 20;
  constexpr int repeats = 5;
  std::vector<char> from(bytes, 1), to(bytes, 2);
  std::vector<double> rates;
  for (int i = 0; i < repeats; ++i) {
    const double start = cpuMs();
    std::memcpy(to.data(), from.data(), bytes);
    asm volatile("" : : "r"(to.data()) : "memory");
    rates.push_back(2.0 * bytes / (cpuMs() - start) / 1e6);
  }
  std::sort(rates.begin(), rates.end());
  return rates[repeats / 2];
}

}  // namespace hsap::bench
