#include "hsap/bench.h"

#include <cmath>
#include <stdexcept>

#include "check.h"

using namespace hsap;
using namespace hsap::bench;

namespace {

Options tiny() {
  Options options;
  options.headDims = {16, 40};
  options.mixes = {{"short", {5, 1, 17}}, {"single", {33}}};
  options.repeats = 2;
  options.minSampleMs = 0.01;
  return options;
}

bool refused(const Options& options) {
  try {
    benchKernels(options);
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

}  // namespace

TEST("every combination of the options is measured once, with its error") {
  Options options = tiny();
  options.isas = {Isa::scalar, bestIsa()};
  options.dtypes = {DType::fp32, DType::bf16};
  options.masks = {Mask::full, Mask::causal};
  std::size_t samples = 0, announced = 0;
  const Result result = benchKernels(options, [&](std::size_t done, std::size_t total) {
    samples = done, announced = total;
    return true;
  });
  CHECK(result.rows.size() == 2u * 2 * 2 * 2 * 2 * 2, result.rows.size());
  CHECK(samples == announced && samples == result.rows.size() * 2);
  for (const Row& row : result.rows) {
    CHECK(row.gflops > 0 && row.shareOfPeak > 0);
    CHECK(row.error < 3e-6, row.error);
    CHECK(row.tokens == (row.mix == "short" ? 23 : 33));
  }
  CHECK(result.copyBandwidthGBps > 0);
  for (const Peak& peak : result.peaks) CHECK(peak.gflops > 0);
}

TEST("fp32 is not measured twice under the name of bf16 products") {
  if (kernelsFor(Isa::avx512bf16) == nullptr) return;
  Options options = tiny();
  options.isas = {Isa::avx512, Isa::avx512bf16};
  options.dtypes = {DType::fp32, DType::bf16};
  for (const Row& row : benchKernels(options).rows) CHECK(row.isa != Isa::avx512bf16 || row.dtype == DType::bf16);
}

TEST("a run that is stopped returns what it has measured") {
  const Result result = benchKernels(tiny(), [](std::size_t done, std::size_t) { return done < 3; });
  CHECK(result.rows.size() == 3, result.rows.size());
}

TEST("options that make no sense are refused") {
  Options options = tiny();
  options.repeats = 0;
  CHECK(refused(options));
  options = tiny();
  options.heads = 3, options.kvHeads = 2;
  CHECK(refused(options));
  options = tiny();
  options.headDims = {0};
  CHECK(refused(options));
  options = tiny();
  options.mixes = {{"empty", {}}};
  CHECK(refused(options));
  options = tiny();
  options.mixes = {{"negative", {4, -1}}};
  CHECK(refused(options));
}
