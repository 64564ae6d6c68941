// The one matrix product of the float64 reference.
#pragma once

#include <cstddef>

namespace hsap::reference {

// c[i][j] += sum over l of a[i][l] * b[l][j], for i < rows, j < columns, l < inner. lda, ldb and ldc are row strides in elements.
void addProduct(std::size_t rows, std::size_t columns, std::size_t inner, const double* a, std::size_t lda, const double* b,
                std::size_t ldb, double* c, std::size_t ldc);

}  // namespace hsap::reference
