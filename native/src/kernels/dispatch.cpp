#include <initializer_list>

#include "hsap/kernels.h"
#include "kernel_sets.h"

namespace hsap {

const Kernels* kernelsFor(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return &scalarKernels;
#ifdef HSAP_X86
    // __builtin_cpu_supports also asks whether the operating system saves the wide registers.
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2Kernels : nullptr;
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl")
                 ? &avx512Kernels
                 : nullptr;
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

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "unknown";
}

}  // namespace hsap
