#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "check.h"
#include "hsap/kernels.h"
#include "hsap/scratch.h"

using hsap::Isa;

TEST("the best instruction set has kernels, and scalar is always there") {
  CHECK(hsap::kernelsFor(hsap::bestIsa()) != nullptr);
  CHECK(hsap::kernelsFor(Isa::scalar) != nullptr);
}

TEST("kernels carry the instruction set they were asked for, and each has a name") {
  const char* names[] = {"scalar", "avx2", "avx512", "avx512bf16"};
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
    const hsap::Kernels* kernels = hsap::kernelsFor(isa);
    CHECK(kernels == nullptr || kernels->isa == isa);
    CHECK(std::strcmp(hsap::isaName(isa), names[static_cast<int>(isa)]) == 0);
  }
}

TEST("scratch keeps its memory, is aligned to cache lines and refuses more than 2 MiB") {
  hsap::Scratch scratch;
  void* first = scratch.reserve(1000);
  CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
  CHECK(scratch.reserve(500) == first && scratch.capacityBytes() >= 1000);
  scratch.reserve(hsap::Scratch::maxBytes);
  bool refused = false;
  try {
    scratch.reserve(hsap::Scratch::maxBytes + 1);
  } catch (const std::length_error&) {
    refused = true;
  }
  CHECK(refused);
}
