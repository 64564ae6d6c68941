#include "hsap/layer.h"

#include "layer_sets.h"

namespace hsap {

const LayerKernels* layerKernelsFor(Isa isa) {
  if (kernelsFor(isa) == nullptr) return nullptr;
  switch (isa) {
    case Isa::scalar:
      return &scalarLayerKernels;
#ifdef HSAP_X86
    case Isa::avx2:
      return &avx2LayerKernels;
    case Isa::avx512:
    case Isa::avx512bf16:
      return &avx512LayerKernels;
#endif
    default:
      return nullptr;
  }
}

}  // namespace hsap
