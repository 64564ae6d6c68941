#include "product.h"

namespace hsap::reference {

namespace {

// Four rows share each load of b; the innermost loop runs along contiguous columns, which the compiler vectorises.
[[gnu::always_inline]] inline void addProductBody(std::size_t rows, std::size_t columns, std::size_t inner, const double* a,
                                                  std::size_t lda, const double* b, std::size_t ldb, double* c, std::size_t ldc) {
  std::size_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    double* __restrict__ c0 = c + i * ldc;
    double* __restrict__ c1 = c0 + ldc;
    double* __restrict__ c2 = c1 + ldc;
    double* __restrict__ c3 = c2 + ldc;
    for (std::size_t l = 0; l < inner; ++l) {
      const double a0 = a[i * lda + l], a1 = a[(i + 1) * lda + l], a2 = a[(i + 2) * lda + l], a3 = a[(i + 3) * lda + l];
      const double* __restrict__ row = b + l * ldb;
      for (std::size_t j = 0; j < columns; ++j) {
        c0[j] += a0 * row[j];
        c1[j] += a1 * row[j];
        c2[j] += a2 * row[j];
        c3[j] += a3 * row[j];
      }
    }
  }
  for (; i < rows; ++i) {
    double* __restrict__ c0 = c + i * ldc;
    for (std::size_t l = 0; l < inner; ++l) {
      const double a0 = a[i * lda + l];
      const double* __restrict__ row = b + l * ldb;
      for (std::size_t j = 0; j < columns; ++j) c0[j] += a0 * row[j];
    }
  }
}

#if defined(__x86_64__)
[[gnu::target("avx512f,fma")]] void addProductAvx512(std::size_t rows, std::size_t columns, std::size_t inner, const double* a,
                                                     std::size_t lda, const double* b, std::size_t ldb, double* c,
                                                     std::size_t ldc) {
  addProductBody(rows, columns, inner, a, lda, b, ldb, c, ldc);
}

[[gnu::target("avx2,fma")]] void addProductAvx2(std::size_t rows, std::size_t columns, std::size_t inner, const double* a,
                                                std::size_t lda, const double* b, std::size_t ldb, double* c, std::size_t ldc) {
  addProductBody(rows, columns, inner, a, lda, b, ldb, c, ldc);
}
#endif

}  // namespace

void addProduct(std::size_t rows, std::size_t columns, std::size_t inner, const double* a, std::size_t lda, const double* b,
                std::size_t ldb, double* c, std::size_t ldc) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return addProductAvx512(rows, columns, inner, a, lda, b, ldb, c, ldc);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return addProductAvx2(rows, columns, inner, a, lda, b, ldb, c, ldc);
  }
#endif
  addProductBody(rows, columns, inner, a, lda, b, ldb, c, ldc);
}

}  // namespace hsap::reference
