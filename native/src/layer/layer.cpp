#include "hsap/layer.h"

#include "layer_sets.h"

namespace hsap {

#ifdef HSAP_X86
namespace {

// AVX-512 kernels whose products of bf16 are dot products of pairs.
const LayerKernels& avx512Bf16LayerKernels() {
  static const LayerKernels kernels = [] {
    LayerKernels changed = avx512LayerKernels;
    changed.isa = Isa::avx512bf16;
    changed.multiplyAdd = multiplyAddAvx512Bf16;
    return changed;
  }();
  return kernels;
}

}  // namespace
#endif

const LayerKernels* layerKernelsFor(Isa isa) {
  if (kernelsFor(isa) == nullptr) return nullptr;
  switch (isa) {
    case Isa::scalar:
      return &scalarLayerKernels;
#ifdef HSAP_X86
    case Isa::avx2:
      return &avx2LayerKernels;
    case Isa::avx512:
      return &avx512LayerKernels;
    case Isa::avx512bf16:
      return &avx512Bf16LayerKernels();
#endif
    default:
      return nullptr;
  }
}

}  // namespace hsap
