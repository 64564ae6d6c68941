// Measures the kernels against the limits of the processor they run on, in one process and one run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hsap/kernels.h"

namespace hsap::bench {

enum class Pass : std::uint8_t { forward = 0, backward = 1 };
enum class DType : std::uint8_t { fp32 = 0, bf16 = 1 };

// Document lengths that are computed as one call with one tile per document.
struct LengthMix {
  std::string name;
  std::vector<std::int32_t> lengths;
};

struct Options {
  std::vector<Isa> isas;  // empty: all that this processor has
  std::vector<DType> dtypes{DType::fp32};
  std::vector<std::int32_t> headDims{64, 128};
  std::vector<Mask> masks{Mask::causal};
  std::vector<Pass> passes{Pass::forward, Pass::backward};
  std::vector<LengthMix> mixes;  // a single document of n tokens is a mix of one length
  std::int32_t heads = 1, kvHeads = 1;
  std::int32_t repeats = 7;  // interleaved: every case once per round
  double minSampleMs = 20;   // a sample repeats its call until it has taken this long
  bool measureError = true;
};

// One kernel case. Time is CPU time of the calling thread, so that other processes of a shared machine do not count.
struct Row {
  Isa isa = Isa::scalar;
  DType dtype = DType::fp32;
  std::int32_t headDim = 0;
  Mask mask = Mask::causal;
  Pass pass = Pass::forward;
  std::int64_t tokens = 0;
  std::string mix;
  double gflops = 0;       // median; forward is 4 * area * heads * headDim operations, backward 2.5 times that
  double shareOfPeak = 0;  // median of the samples' shares of the peak measured directly before and after each
  double error = 0;        // relative L2 error against float64: of o, or the worst of dq, dk and dv; NaN when not measured
};

// Multiply-adds on registers only. Where bf16 inputs are widened, their peak is that of fp32.
struct Peak {
  Isa isa = Isa::scalar;
  DType dtype = DType::fp32;
  double gflops = 0;  // median
};

struct Result {
  std::vector<Peak> peaks;
  double copyBandwidthGBps = 0;  // bytes read plus bytes written, of a copy far larger than any cache
  std::vector<Row> rows;
};

// Runs every combination of the options on the calling thread, fp32 on avx512bf16 left out as its kernels are those of avx512.
// progress(done, total) is called after each round's sample and may be empty; returning false from it stops the run, and rows
// then hold what was measured. Throws std::invalid_argument for an instruction set this processor lacks, a head dimension, length
// or repeat count below 1, or heads that kvHeads does not divide.
Result benchKernels(const Options& options, const std::function<bool(std::size_t done, std::size_t total)>& progress = {});

// The rate of a register-only loop of independent multiply-adds, over at least `minMs` milliseconds of CPU time.
double peakGflops(Isa isa, DType dtype, double minMs);

const char* dtypeName(DType dtype);

// The rate of copying a large array, bytes read plus bytes written.
double copyBandwidthGBps();

}  // namespace hsap::bench
