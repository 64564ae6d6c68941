#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>

#include "bench_case.h"
#include "cpu_clock.h"
#include "hsap/bench.h"

namespace hsap::bench {

namespace {

// The error is measured on at most this many tokens of each mix: float64 is slow, and errors do not shrink with size.
constexpr std::int64_t errorTokens = 768;
constexpr double peakSampleMs = 3;

struct Entry {
  Row row;
  std::shared_ptr<BenchCase> bench;  // shared by the instruction sets
  std::vector<double> gflops, shares, peaks;
};

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void check(const Options& options) {
  const auto atLeastOne = [](const char* name, std::int32_t value) {
    if (value < 1)
      throw std::invalid_argument(std::string("invalid ") + name + ": " + std::to_string(value) + " (must be at least 1)");
  };
  atLeastOne("repeats", options.repeats);
  atLeastOne("heads", options.heads);
  atLeastOne("kvHeads", options.kvHeads);
  for (const std::int32_t headDim : options.headDims) atLeastOne("headDim", headDim);
  for (const LengthMix& mix : options.mixes) {
    if (mix.lengths.empty()) throw std::invalid_argument("invalid mix: " + mix.name + " (has no documents)");
    for (const std::int32_t length : mix.lengths) atLeastOne("length", length);
  }
  if (options.heads % options.kvHeads != 0) {
    throw std::invalid_argument("invalid kvHeads: " + std::to_string(options.kvHeads) + " (must divide " +
                                std::to_string(options.heads) + " heads)");
  }
}

std::vector<Isa> isasOf(const Options& options) {
  if (options.isas.empty()) {
    std::vector<Isa> all;
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
      if (kernelsFor(isa) != nullptr) all.push_back(isa);
    }
    return all;
  }
  for (const Isa isa : options.isas) {
    if (kernelsFor(isa) == nullptr) throw std::invalid_argument(std::string("unsupported instruction set: ") + isaName(isa));
  }
  return options.isas;
}

// The first documents of a mix, the last one cut, up to errorTokens.
std::vector<std::int32_t> shortened(const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> result;
  std::int64_t left = errorTokens;
  for (std::size_t d = 0; d < lengths.size() && left > 0; ++d) {
    result.push_back(static_cast<std::int32_t>(std::min<std::int64_t>(lengths[d], left)));
    left -= result.back();
  }
  return result;
}

std::vector<Entry> entriesOf(const Options& options, const std::vector<Isa>& isas) {
  std::vector<Entry> entries;
  for (const LengthMix& mix : options.mixes) {
    for (const std::int32_t headDim : options.headDims) {
      for (const Mask mask : options.masks) {
        for (const Pass pass : options.passes) {
          for (const DType dtype : options.dtypes) {
            const auto bench =
                std::make_shared<BenchCase>(mix.lengths, options.heads, options.kvHeads, headDim, mask, pass, dtype);
            for (const Isa isa : isas) {
              if (isa == Isa::avx512bf16 && dtype == DType::fp32) continue;
              Entry entry;
              entry.row = {
                  isa, dtype, headDim, mask, pass, bench->tokens(), mix.name, 0, 0, std::numeric_limits<double>::quiet_NaN()};
              entry.bench = bench;
              if (options.measureError) {
                Scratch scratch;
                BenchCase small(shortened(mix.lengths), options.heads, options.kvHeads, headDim, mask, pass, dtype);
                entry.row.error = small.relativeError(*kernelsFor(isa), scratch);
              }
              entries.push_back(std::move(entry));
            }
          }
        }
      }
    }
  }
  return entries;
}

// The peak is measured on both sides of the sample, so that a clock that drifts, or a neighbour that comes or goes, moves both
// sides of the share alike.
void takeSample(Entry& entry, double minSampleMs, Scratch& scratch) {
  const Kernels& kernels = *kernelsFor(entry.row.isa);
  const double peakBefore = peakGflops(entry.row.isa, entry.row.dtype, peakSampleMs);
  double elapsed = 0, operations = 0;
  while (elapsed < minSampleMs) {
    entry.bench->reset();
    const double start = cpuMs();
    entry.bench->run(kernels, scratch);
    elapsed += cpuMs() - start;
    operations += entry.bench->operations();
  }
  const double peakAfter = peakGflops(entry.row.isa, entry.row.dtype, peakSampleMs), peak = (peakBefore + peakAfter) / 2;
  entry.gflops.push_back(operations / elapsed / 1e6);
  entry.shares.push_back(entry.gflops.back() / peak);
  entry.peaks.push_back(peak);
}

}  // namespace

Result benchKernels(const Options& options, const std::function<bool(std::size_t, std::size_t)>& progress) {
  check(options);
  const std::vector<Isa> isas = isasOf(options);
  std::vector<Entry> entries = entriesOf(options, isas);
  const std::size_t total = entries.size() * static_cast<std::size_t>(options.repeats);
  Scratch scratch;
  std::size_t done = 0;
  bool stopped = false;
  for (std::int32_t round = 0; round < options.repeats && !stopped; ++round) {
    for (Entry& entry : entries) {
      takeSample(entry, options.minSampleMs, scratch);
      stopped = progress && !progress(++done, total);
      if (stopped) break;
    }
  }

  Result result;
  result.copyBandwidthGBps = copyBandwidthGBps();
  for (const Isa isa : isas) {
    for (const DType dtype : options.dtypes) {
      std::vector<double> peaks;
      for (const Entry& entry : entries) {
        if (entry.row.isa == isa && entry.row.dtype == dtype) peaks.insert(peaks.end(), entry.peaks.begin(), entry.peaks.end());
      }
      if (!peaks.empty()) result.peaks.push_back({isa, dtype, median(peaks)});
    }
  }
  for (Entry& entry : entries) {
    if (entry.gflops.empty()) continue;
    entry.row.gflops = median(entry.gflops);
    entry.row.shareOfPeak = median(entry.shares);
    result.rows.push_back(entry.row);
  }
  return result;
}

}  // namespace hsap::bench
