// hsap_bench_products: the matrix products of a layer, by the engine's own kernels in fp32 and in bf16, and by a BLAS if the
// build found one, one thread each.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu_clock.h"
#include "hsap/bench.h"
#include "hsap/layer.h"
#include "hsap/scratch.h"

#ifdef HSAP_BLAS
extern "C" {
void sgemm_(const char* transA, const char* transB, const int* m, const int* n, const int* k, const float* alpha, const float* a,
            const int* lda, const float* b, const int* ldb, const float* beta, float* c, const int* ldc);
// OpenBLAS has these; another library takes its threads from the environment.
[[gnu::weak]] void openblas_set_num_threads(int threads);
[[gnu::weak]] char* openblas_get_config();
[[gnu::weak]] char* openblas_get_corename();
}
#endif

namespace {

using namespace hsap;

constexpr const char* usage =
    "usage: hsap_bench_products [options]\n"
    "  --model NAME       160m or 7b: the shapes of its layers (default: both)\n"
    "  --isa NAME         scalar, avx2, avx512 or avx512bf16 (default: the best for each type)\n"
    "  --tokens N         rows of the activations (default 512)\n"
    "  --repeats N        interleaved rounds (default 7)\n";

constexpr double minSampleMs = 20, peakSampleMs = 3;

// x (tokens x in) times w (in x out).
struct Shape {
  const char* model;
  const char* name;
  std::int64_t in, out;
};

constexpr Shape shapes[] = {
    {"160m", "q", 768, 768}, {"160m", "gate", 768, 3072}, {"160m", "down", 3072, 768},
    {"7b", "q", 4096, 4096}, {"7b", "gate", 4096, 11008}, {"7b", "down", 11008, 4096},
};

enum class Op { linear, inputGradient, weightGradient };
constexpr const char* opNames[] = {"linear", "linearInputGradient", "linearWeightGradient"};

// c (rows x columns) += a b, where a or b may be stored transposed; rows side by side.
struct Product {
  std::int64_t rows, columns, depth;
  bool transposedA, transposedB;
};

Product productOf(Op op, const Shape& shape, std::int64_t tokens) {
  switch (op) {
    case Op::linear:
      return {tokens, shape.out, shape.in, false, false};
    case Op::inputGradient:
      return {tokens, shape.in, shape.out, false, true};
    default:
      return {shape.in, shape.out, tokens, true, false};
  }
}

// Small numbers that differ from place to place.
std::vector<float> filled(std::int64_t count, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<std::int32_t>(seed)) * 0x1p-31f;
  }
  return values;
}

template <class Element>
Matrix matrix(std::vector<Element>& values, std::int64_t rows, std::int64_t columns) {
  return matrixOf(BasicView<Element>{values.data(), rows * columns, columns}, rows, 1, columns);
}

std::vector<Bf16> rounded(const std::vector<float>& values) {
  std::vector<Bf16> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), toBf16);
  return halves;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

class Bench {
 public:
  Bench(Op op, const Shape& shape, std::int64_t tokens)
      : op_(op),
        shape_(shape),
        product_(productOf(op, shape, tokens)),
        a_(filled(product_.rows * product_.depth, 1)),
        b_(filled(product_.depth * product_.columns, 2)),
        c_(static_cast<std::size_t>(product_.rows * product_.columns)),
        halfA_(rounded(a_)),
        halfB_(rounded(b_)),
        halfC_(c_.size()) {}

  void sample(const LayerKernels& kernels, const LayerKernels& bf16Kernels, Scratch& scratch) {
    const double before = bench::peakGflops(kernels.isa, bench::DType::fp32, peakSampleMs);
    const double own = rate([&] { multiply(kernels, scratch); });
    const double after = bench::peakGflops(kernels.isa, bench::DType::fp32, peakSampleMs);
    own_.push_back(own), shares_.push_back(2 * own / (before + after));
    bf16_.push_back(rate([&] { multiplyBf16(bf16Kernels, scratch); }));
#ifdef HSAP_BLAS
    blas_.push_back(rate([&] { multiplyByBlas(); }));
#endif
  }

  // The largest difference of the two results, relative to the largest element.
  double difference([[maybe_unused]] const LayerKernels& kernels, [[maybe_unused]] Scratch& scratch) {
#ifdef HSAP_BLAS
    std::fill(c_.begin(), c_.end(), 0.0f);
    multiply(kernels, scratch);
    const std::vector<float> own = c_;
    std::fill(c_.begin(), c_.end(), 0.0f);
    multiplyByBlas();
    float wrong = 0, largest = 0;
    for (std::size_t i = 0; i < c_.size(); ++i)
      wrong = std::max(wrong, std::abs(own[i] - c_[i])), largest = std::max(largest, std::abs(c_[i]));
    return wrong / largest;
#else
    return std::nan("");
#endif
  }

  void print(double difference) const {
    std::printf("%-6s %-6s %-21s %7lld x %6lld x %6lld %8.1f %6.1f%%", shape_.model, shape_.name, opNames[static_cast<int>(op_)],
                static_cast<long long>(product_.rows), static_cast<long long>(product_.depth),
                static_cast<long long>(product_.columns), median(own_), 100 * median(shares_));
    std::printf(" %8.1f %6.2f", median(bf16_), bf16Ratio());
    if (blas_.empty()) {
      std::printf(" %8s %6s\n", "-", "-");
      return;
    }
    std::printf(" %8.1f %6.2f %9.1e\n", median(blas_), medianRatio(own_, blas_), difference);
  }

  // Of the rate in bf16 to that in fp32, pair by pair.
  double bf16Ratio() const { return medianRatio(bf16_, own_); }
  const char* model() const { return shape_.model; }

 private:
  static double medianRatio(const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
    return median(ratios);
  }

  void multiply(const LayerKernels& kernels, Scratch& scratch) {
    const Checkpoint never{[](const void*) {}, nullptr};
    const auto [rows, columns, depth, transposedA, transposedB] = product_;
    const Matrix a = transposedA ? matrix(a_, depth, rows).transposed() : matrix(a_, rows, depth);
    const Matrix b = transposedB ? matrix(b_, columns, depth).transposed() : matrix(b_, depth, columns);
    kernels.multiplyAdd(matrix(c_, rows, columns), a, b, scratch, never);
  }

  // As a step in bf16 has it: activations and their gradients are stored as bf16, gradients of weights are fp32.
  void multiplyBf16(const LayerKernels& kernels, Scratch& scratch) {
    const Checkpoint never{[](const void*) {}, nullptr};
    const auto [rows, columns, depth, transposedA, transposedB] = product_;
    const Matrix a = transposedA ? matrix(halfA_, depth, rows).transposed() : matrix(halfA_, rows, depth);
    const Matrix b = transposedB ? matrix(halfB_, columns, depth).transposed() : matrix(halfB_, depth, columns);
    const Matrix c = op_ == Op::weightGradient ? matrix(c_, rows, columns) : matrix(halfC_, rows, columns);
    kernels.multiplyAdd(c, a, b, scratch, never);
  }

#ifdef HSAP_BLAS
  // A BLAS takes columns side by side, so it is given the transposed product.
  void multiplyByBlas() {
    const int rows = static_cast<int>(product_.rows), columns = static_cast<int>(product_.columns),
              depth = static_cast<int>(product_.depth);
    const int strideA = product_.transposedA ? rows : depth, strideB = product_.transposedB ? depth : columns;
    const float one = 1;
    sgemm_(product_.transposedB ? "T" : "N", product_.transposedA ? "T" : "N", &columns, &rows, &depth, &one, b_.data(), &strideB,
           a_.data(), &strideA, &one, c_.data(), &columns);
  }
#endif

  template <typename Body>
  double rate(const Body& body) const {
    double elapsed = 0, operations = 0;
    while (elapsed < minSampleMs) {
      const double start = bench::cpuMs();
      body();
      elapsed += bench::cpuMs() - start;
      operations += 2.0 * static_cast<double>(product_.rows) * static_cast<double>(product_.columns * product_.depth);
    }
    return operations / elapsed / 1e6;
  }

  Op op_;
  Shape shape_;
  Product product_;
  std::vector<float> a_, b_, c_;
  std::vector<Bf16> halfA_, halfB_, halfC_;
  std::vector<double> own_, shares_, bf16_, blas_;
};

struct Arguments {
  std::string model;
  const LayerKernels* fp32 = layerKernelsFor(bestIsa());
  const LayerKernels* bf16 = layerKernelsFor(bestIsaForBf16());
  std::int64_t tokens = 512;
  int repeats = 7;
};

long countOf(const std::string& option, const char* text) {
  char* end = nullptr;
  const long value = text == nullptr ? 0 : std::strtol(text, &end, 10);
  if (text == nullptr || *end != '\0' || value < 1 || value > 1 << 20)
    throw std::invalid_argument("invalid " + option + ": " + (text == nullptr ? "" : text) +
                                " (must be a whole number from 1 to 1048576)");
  return value;
}

const LayerKernels* kernelsNamed(const std::string& name) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16})
    if (name == isaName(isa) && layerKernelsFor(isa) != nullptr) return layerKernelsFor(isa);
  throw std::invalid_argument("unsupported --isa: " + name + " (must be a set of this processor)");
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (option == "--tokens") {
      arguments.tokens = countOf(option, value);
    } else if (option == "--repeats") {
      arguments.repeats = static_cast<int>(countOf(option, value));
    } else if (option == "--model" && value != nullptr) {
      arguments.model = value;
      if (arguments.model != "160m" && arguments.model != "7b")
        throw std::invalid_argument("unknown --model: " + arguments.model + " (must be 160m or 7b)");
    } else if (option == "--isa" && value != nullptr) {
      arguments.fp32 = arguments.bf16 = kernelsNamed(value);
    } else {
      throw std::invalid_argument("unknown option: " + option);
    }
  }
  return arguments;
}

void printBlas() {
#ifdef HSAP_BLAS
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(1);
  std::printf("# BLAS: %s, %s, kernels of %s\n", HSAP_BLAS, openblas_get_config == nullptr ? "?" : openblas_get_config(),
              openblas_get_corename == nullptr ? "?" : openblas_get_corename());
#else
  std::printf("# BLAS: none was found when this was built\n");
#endif
}

void measure(const Arguments& arguments) {
  const LayerKernels &kernels = *arguments.fp32, &bf16Kernels = *arguments.bf16;
  Scratch scratch;
  std::vector<Bench> benches;
  for (const Shape& shape : shapes) {
    if (!arguments.model.empty() && arguments.model != shape.model) continue;
    for (const Op op : {Op::linear, Op::inputGradient, Op::weightGradient}) benches.emplace_back(op, shape, arguments.tokens);
  }
  for (int round = 0; round < arguments.repeats; ++round) {
    for (Bench& each : benches) each.sample(kernels, bf16Kernels, scratch);
  }
  std::printf("# own kernels: %s fp32, %s bf16; medians of %d interleaved rounds, CPU time of one thread\n", isaName(kernels.isa),
              isaName(bf16Kernels.isa), arguments.repeats);
  std::printf("%-6s %-6s %-21s %25s %8s %7s %8s %6s %8s %6s %9s\n", "model", "weight", "op", "rows x depth x columns", "GFLOP/s",
              "of peak", "bf16", "/fp32", "BLAS", "/BLAS", "differ");
  for (Bench& each : benches) each.print(each.difference(kernels, scratch));
  for (const char* model : {"160m", "7b"}) {
    double logs = 0;
    int count = 0;
    for (const Bench& each : benches)
      if (std::string(model) == each.model()) logs += std::log(each.bf16Ratio()), ++count;
    if (count > 0)
      std::printf("# %s: bf16 %.2f times as fast as fp32, geometric mean of its products\n", model, std::exp(logs / count));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && (std::string(argv[1]) == "--help" || std::string(argv[1]) == "-h")) {
    std::fputs(usage, stdout);
    return 0;
  }
  try {
    const Arguments arguments = parse(argc, argv);
    // Libraries other than OpenBLAS read one of these when they are first called.
    for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"})
      setenv(name, "1", 1);
    printBlas();
    measure(arguments);
    return 0;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
