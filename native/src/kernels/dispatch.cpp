#include <initializer_list>

#include "hsap/kernels.h"
#include "kernel_sets.h"

namespace hsap {

#ifdef HSAP_X86
namespace {

bool hasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

// AVX-512 kernels whose products of bf16 inputs are dot products of pairs.
const Kernels& avx512Bf16Kernels() {
  static const Kernels kernels = [] {
    Kernels changed = avx512Kernels;
    changed.isa = Isa::avx512bf16;
    changed.forwardBf16 = forwardAvx512Bf16;
    return changed;
  }();
  return kernels;
}

}  // namespace
#endif

const Kernels* kernelsFor(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return &scalarKernels;
#ifdef HSAP_X86
    // __builtin_cpu_supports also asks whether the operating system saves the wide registers.
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2Kernels : nullptr;
    case Isa::avx512:
      return hasAvx512() ? &avx512Kernels : nullptr;
    case Isa::avx512bf16:
      return hasAvx512() && __builtin_cpu_supports("avx512bf16") ? &avx512Bf16Kernels() : nullptr;
#endif
    default:
      return nullptr;
  }
}

Isa bestIsa() {
  for (const Isa isa : {Isa::avx512, Isa::avx2}) {
    if (kernelsFor(isa) != nullptr) return isa;
  }
  return Isa::scalar;
}

Isa bestIsaForBf16() { return kernelsFor(Isa::avx512bf16) != nullptr ? Isa::avx512bf16 : bestIsa(); }

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512bf16:
      return "avx512bf16";
  }
  return "unknown";
}

}  // namespace hsap
