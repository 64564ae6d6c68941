// A digest of a pass's outputs that ranks can compute apart and add up.
#pragma once

#include <cstdint>

#include "hsap/executor.h"

namespace hsap {

// A sum over rows modulo 2^64, twice: of a hash of (tensor, head, token, the bits of all columns) and of a second hash of the
// same. Equal bits give equal digests; bits that differ anywhere give others but for one case in about 2^128. Not cryptographic.
struct OutputDigest {
  std::uint64_t low = 0, high = 0;

  void operator+=(const OutputDigest& other) {
    low += other.low;
    high += other.high;
  }
};

// Over the rows that `rank` owns, which lie in `outputs` as runProgram left them. The sum over all ranks is the digest of all
// outputs, and depends on neither layout nor transport.
OutputDigest digestOfRank(const Program& program, std::int32_t rank, const RunOutputs& outputs);

}  // namespace hsap
