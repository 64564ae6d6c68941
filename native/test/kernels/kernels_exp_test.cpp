#include <bit>
#include <cmath>

#include "check.h"
#include "tile_case.h"

using namespace tile_case;

namespace {

// Distance to the true value in units of the last place of the fp32 number nearest to it.
double errorInUlp(float actual, double truth) {
  const float nearest = static_cast<float>(truth);
  const double ulp = nearest < 0x1p-126f ? 0x1p-149 : std::ldexp(1.0, std::ilogb(nearest) - 23);
  return std::abs(actual - truth) / ulp;
}

}  // namespace

TEST("exp2 is within 2 ulp of the true value from 2^-151 to 1, subnormal results included") {
  // exp(x) for x in -104..0 is 2^t for t in -150.05..0: every 97th fp32 number of that range, and the first 2^16 below zero.
  for (const Kernels* kernels : allKernels()) {
    double worst = 0;
    float worstAt = 0;
    std::vector<float> t, result;
    const auto measure = [&] {
      result.resize(t.size());
      kernels->exp2(t.data(), result.data(), t.size());
      for (std::size_t i = 0; i < t.size(); ++i) {
        const double error = errorInUlp(result[i], std::exp2(static_cast<double>(t[i])));
        if (!(error <= worst)) worst = error, worstAt = t[i];
      }
      t.clear();
    };
    const std::uint32_t tiniest = std::bit_cast<std::uint32_t>(-0x1p-30f), last = std::bit_cast<std::uint32_t>(-151.0f);
    for (std::uint32_t bits = tiniest; bits <= last; bits += 97) {
      t.push_back(std::bit_cast<float>(bits));
      if (t.size() == 4099) measure();
    }
    for (int i = 0; i < 1 << 16; ++i) t.push_back(-static_cast<float>(i) * 0x1p-9f);
    measure();
    CHECK(worst <= 2, hsap::isaName(kernels->isa), ": ", worst, " ulp at ", worstAt);
    std::printf("  %s: at most %.3f ulp (at %g)\n", hsap::isaName(kernels->isa), worst, worstAt);
  }
}

TEST("exp2 is 1 at 0, 0 at -inf and far below, and passes NaN on") {
  for (const Kernels* kernels : allKernels()) {
    const float t[] = {0.0f, -0.0f, -infinity, -1e30f, -152.0f, std::numeric_limits<float>::quiet_NaN(), 1.0f, 10.0f, 60.0f};
    float result[9];
    kernels->exp2(t, result, 9);
    CHECK(result[0] == 1 && result[1] == 1 && result[2] == 0 && result[3] == 0 && result[4] == 0, hsap::isaName(kernels->isa));
    CHECK(std::isnan(result[5]), hsap::isaName(kernels->isa));
    CHECK(result[6] == 2 && result[7] == 1024 && result[8] == 0x1p60f, hsap::isaName(kernels->isa));
  }
}

TEST("exp2 gives the same bits in a whole vector and in a rest") {
  for (const Kernels* kernels : allKernels()) {
    float t[64], whole[64], rest[64];
    for (int i = 0; i < 64; ++i) t[i] = -0.37f * static_cast<float>(i);
    kernels->exp2(t, whole, 64);
    for (int count = 1; count < 64; ++count) {
      kernels->exp2(t, rest, count);
      for (int i = 0; i < count; ++i) CHECK(whole[i] == rest[i], hsap::isaName(kernels->isa), " count ", count);
    }
  }
}
