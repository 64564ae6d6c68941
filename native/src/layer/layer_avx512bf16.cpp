#include "kernels/vectors/simd_avx512bf16.h"
#include "layer_sets.h"
#include "product.h"

namespace hsap {

void multiplyAddAvx512Bf16(const Matrix& c, const Matrix& a, const Matrix& b, Scratch& scratch, const Checkpoint& checkpoint) {
  multiplyAdd<Avx512, PairFactors<Avx512Bf16>>(c, a, b, scratch, checkpoint);
}

}  // namespace hsap
