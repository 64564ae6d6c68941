#include "hsap/reference.h"

#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"

using hsap::reference::Problem;

namespace {

std::vector<float> randomVector(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

bool near(double a, double b, double tolerance = 1e-12) { return std::abs(a - b) <= tolerance; }

}  // namespace

TEST("one token returns its own value") {
  const std::int32_t cuSeqlens[] = {0, 1};
  const Problem problem{1, 1, 2, cuSeqlens, 1, true};
  const float q[] = {1, 2}, k[] = {3, 4}, v[] = {5, -6};
  double o[2], lse[1];
  forward(problem, q, k, v, o, lse);
  CHECK(o[0] == 5 && o[1] == -6);
  CHECK(near(lse[0], 11 / std::sqrt(2.0)), lse[0]);
}

TEST("two tokens with scores ln 3 apart are weighted 3 to 1") {
  // headDim 1, so scale is 1. Query 1 has scores 0 and ln 3: weights 1/4 and 3/4.
  const std::int32_t cuSeqlens[] = {0, 2};
  const Problem problem{1, 1, 1, cuSeqlens, 1, true};
  const float ln3 = std::log(3.0f);
  const float q[] = {1, 1}, k[] = {0, ln3}, v[] = {8, 4};
  double o[2], lse[2];
  forward(problem, q, k, v, o, lse);
  CHECK(o[0] == 8);
  CHECK(near(o[1], 5, 1e-7), o[1]);
  CHECK(near(lse[0], 0));
  CHECK(near(lse[1], std::log(4.0), 1e-7), lse[1]);

  // dO = (0, 1): dv = (1/4, 3/4). dp = v = (8, 4), sum p dp = 5, ds = p (dp - 5) = (3/4, -3/4).
  // dq_1 = ds . k = -3/4 ln 3; dk = ds * q_1 = (3/4, -3/4).
  const float dO[] = {0, 1};
  double dq[2], dk[2], dv[2];
  backward(problem, q, k, v, dO, dq, dk, dv);
  CHECK(near(dv[0], 0.25, 1e-7) && near(dv[1], 0.75, 1e-7), dv[0], dv[1]);
  CHECK(near(dk[0], 0.75, 1e-6) && near(dk[1], -0.75, 1e-6), dk[0], dk[1]);
  CHECK(near(dq[0], 0, 1e-12) && near(dq[1], -0.75 * std::log(3.0), 1e-6), dq[1]);
}

TEST("without the causal mask the first token sees the second") {
  const std::int32_t cuSeqlens[] = {0, 2};
  const Problem problem{1, 1, 1, cuSeqlens, 1, false};
  const float q[] = {0, 0}, k[] = {1, 2}, v[] = {2, 4};
  double o[2], lse[2];
  forward(problem, q, k, v, o, lse);
  CHECK(near(o[0], 3) && near(o[1], 3));
  CHECK(near(lse[0], std::log(2.0)));
}

TEST("equal keys average the values seen so far, and the next document starts anew") {
  const std::int32_t cuSeqlens[] = {0, 3, 5};
  const Problem problem{1, 1, 1, cuSeqlens, 2, true};
  const float q[] = {7, 7, 7, 7, 7}, k[] = {0, 0, 0, 0, 0}, v[] = {3, 5, 10, 100, 200};
  double o[5], lse[5];
  forward(problem, q, k, v, o, lse);
  const double expected[] = {3, 4, 6, 100, 150};
  for (int i = 0; i < 5; ++i) CHECK(near(o[i], expected[i]), i, o[i]);
  CHECK(near(lse[2], std::log(3.0)) && near(lse[3], 0));
}

TEST("query heads of a group share their kv head") {
  const std::int32_t cuSeqlens[] = {0, 1};
  const Problem problem{4, 2, 1, cuSeqlens, 1, true};
  const float q[] = {1, 1, 1, 1}, k[] = {1, 1}, v[] = {10, 20};
  double o[4], lse[4];
  forward(problem, q, k, v, o, lse);
  CHECK(o[0] == 10 && o[1] == 10 && o[2] == 20 && o[3] == 20);
}

TEST("large scores neither overflow nor lose the sum") {
  const std::int32_t cuSeqlens[] = {0, 2};
  const Problem problem{1, 1, 1, cuSeqlens, 1, false};
  const float q[] = {1e4f, -1e4f}, k[] = {1e4f, 1e4f}, v[] = {1, 3};
  double o[2], lse[2];
  forward(problem, q, k, v, o, lse);
  CHECK(near(o[0], 2) && near(o[1], 2));
  CHECK(near(lse[0], 1e8 + std::log(2.0), 1e-6) && near(lse[1], -1e8 + std::log(2.0), 1e-6));
}

TEST("gradients equal central differences of the loss") {
  const std::int32_t cuSeqlens[] = {0, 3, 8};
  for (const bool causal : {true, false}) {
    const Problem problem{4, 2, 3, cuSeqlens, 2, causal};
    const std::size_t qSize = 4 * 8 * 3, kvSize = 2 * 8 * 3;
    std::vector<float> inputs[] = {randomVector(qSize, 1), randomVector(kvSize, 2), randomVector(kvSize, 3)};
    const std::vector<float> dO = randomVector(qSize, 4);
    std::vector<double> gradients[] = {std::vector<double>(qSize), std::vector<double>(kvSize), std::vector<double>(kvSize)};
    backward(problem, inputs[0].data(), inputs[1].data(), inputs[2].data(), dO.data(), gradients[0].data(), gradients[1].data(),
             gradients[2].data());
    const auto loss = [&] {
      std::vector<double> o(qSize), lse(4 * 8);
      forward(problem, inputs[0].data(), inputs[1].data(), inputs[2].data(), o.data(), lse.data());
      double sum = 0;
      for (std::size_t i = 0; i < qSize; ++i) sum += o[i] * dO[i];
      return sum;
    };
    for (int tensor = 0; tensor < 3; ++tensor) {
      for (std::size_t i = 0; i < inputs[tensor].size(); ++i) {
        const float value = inputs[tensor][i];
        const float above = value + 0x1p-9f, below = value - 0x1p-9f;
        inputs[tensor][i] = above;
        const double lossAbove = loss();
        inputs[tensor][i] = below;
        const double lossBelow = loss();
        inputs[tensor][i] = value;
        const double difference = (lossAbove - lossBelow) / (static_cast<double>(above) - below);
        CHECK(near(difference, gradients[tensor][i], 2e-4), "tensor ", tensor, " element ", i, ": ", difference, " against ",
              gradients[tensor][i]);
      }
    }
  }
}

TEST("the result does not depend on the number of threads") {
  const std::int32_t cuSeqlens[] = {0, 70, 71, 200};
  const Problem problem{4, 2, 16, cuSeqlens, 3, true};
  const std::vector<float> q = randomVector(4 * 200 * 16, 1), k = randomVector(2 * 200 * 16, 2),
                           v = randomVector(2 * 200 * 16, 3);
  std::vector<double> o1(q.size()), o3(q.size()), lse1(800), lse3(800);
  forward(problem, q.data(), k.data(), v.data(), o1.data(), lse1.data(), 1);
  forward(problem, q.data(), k.data(), v.data(), o3.data(), lse3.data(), 3);
  CHECK(o1 == o3);
  CHECK(lse1 == lse3);
}

TEST("heads that kv heads do not divide and descending cuSeqlens are refused") {
  const std::int32_t good[] = {0, 2}, bad[] = {0, 2, 1};
  double out[8];
  const float in[8] = {};
  for (const Problem& problem :
       {Problem{3, 2, 1, good, 1, true}, Problem{1, 1, 1, bad, 2, true}, Problem{1, 1, 0, good, 1, true}}) {
    bool refused = false;
    try {
      forward(problem, in, in, in, out, out);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    CHECK(refused);
  }
}
