#include "hsap/kernels.h"

#include "check.h"

TEST("the best instruction set has kernels, and scalar is always there") {
  CHECK(hsap::kernelsFor(hsap::bestIsa()) != nullptr);
  CHECK(hsap::kernelsFor(hsap::Isa::scalar) != nullptr);
}
