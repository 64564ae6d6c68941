#include "ops/dense_ops.h"

#include <stdexcept>
#include <string>

namespace hsap {

extern const DenseOps denseOpsScalar;
#ifdef HSAP_X86
extern const DenseOps denseOpsAvx2, denseOpsAvx512;
#endif

const DenseOps& denseOpsFor(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return denseOpsScalar;
#ifdef HSAP_X86
    case Isa::avx2:
      return denseOpsAvx2;
    case Isa::avx512:
    case Isa::avx512bf16:
      return denseOpsAvx512;
#endif
    default:
      throw std::runtime_error(std::string("no unfused ops for ") + isaName(isa));
  }
}

}  // namespace hsap
