// Inputs by global index.
#include "hsap/inputs.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"

using namespace hsap;

namespace {

TEST("an element is the same however the block around it is cut") {
  for (const bool bf16 : {false, true}) {
    const InputSource source{5, std::nullopt, bf16};
    std::vector<float> values(3 * 4 * 7, -100.0f);
    // Rows 11 and 13 of the block lie apart: strides are the target's own.
    source.fill(InputTensor::k, {values.data(), 28, 7}, 11, 15, 2, 5, 6);
    for (int head = 0; head < 3; ++head) {
      for (int token = 0; token < 4; ++token) {
        const float* row = &values[head * 28 + token * 7];
        for (int column = 0; column < 6; ++column)
          CHECK(row[column] == source.element(InputTensor::k, 11 + token, 2 + head, column));
        CHECK(row[6] == -100.0f, "a column too many was written");
      }
    }
  }
}

TEST("known values stay what they are") {
  const InputSource source{1, std::nullopt, false};
  // Written down once; a change of the function would silently change every published input.
  const float known[4] = {source.element(InputTensor::q, 0, 0, 0), source.element(InputTensor::k, 1, 2, 3),
                          source.element(InputTensor::v, 100000, 63, 127), source.element(InputTensor::dO, 7, 0, 1)};
  const float expected[4] = {-0x1.39f0e4p0f, -0x1.c6ef1ap-3f, -0x1.85c3fcp-3f, 0x1.3ccd8ep-2f};
  for (int i = 0; i < 4; ++i) CHECK(known[i] == expected[i], i, " is ", std::hexfloat, known[i]);
}

TEST("a perturbation changes its tokens and no others") {
  const InputSource plain{1, std::nullopt, false}, perturbed{1, Perturbation{10, 20, 2}, false};
  for (std::int32_t token = 0; token < 30; ++token) {
    const bool same = plain.element(InputTensor::v, token, 0, 0) == perturbed.element(InputTensor::v, token, 0, 0);
    CHECK(same == (token < 10 || token >= 20), "token ", token);
  }
}

TEST("rounding to bf16 takes the nearest value, ties to even, and keeps what is special") {
  CHECK(roundToBf16(1.0f) == 1.0f);
  CHECK(roundToBf16(1.0f + 0x1p-8f) == 1.0f);            // a tie: down to even
  CHECK(roundToBf16(1.0f + 0x3p-8f) == 1.0f + 0x1p-6f);  // a tie: up to even
  CHECK(roundToBf16(1.0f + 0x1.02p-8f) == 1.0f + 0x1p-7f);
  CHECK(roundToBf16(-1.0f - 0x1.02p-8f) == -1.0f - 0x1p-7f);
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(roundToBf16(infinity) == infinity && roundToBf16(-infinity) == -infinity);
  CHECK(std::isnan(roundToBf16(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
