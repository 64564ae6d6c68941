#include "hsap/output_digest.h"

#include <bit>
#include <cstring>

namespace hsap {

namespace {

// The finaliser of SplitMix64: a bijection in which every bit of the result depends on every bit of the argument.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

OutputDigest digestOfRow(TensorCode tensor, std::int32_t head, std::int64_t token, const float* row, std::int32_t width) {
  std::uint64_t low = mixed(static_cast<std::uint64_t>(tensor) + 1) ^ mixed(std::uint64_t(head) << 32 | std::uint64_t(token));
  std::uint64_t high = ~low;
  for (std::int32_t column = 0; column < width; ++column) {
    const std::uint64_t bits = std::bit_cast<std::uint32_t>(row[column]);
    low = (low ^ bits) * 0x9e3779b97f4a7c15u;
    low ^= low >> 32;
    high = (high + bits) * 0xd6e8feb86659fd93u;
    high ^= high >> 29;
  }
  return {mixed(low), mixed(high)};
}

}  // namespace

OutputDigest digestOfRank(const Program& program, std::int32_t rank, const RunOutputs& outputs) {
  OutputDigest digest;
  const std::int64_t tokens = program.problem.tokens();
  for (std::size_t i = 0; i < program.owned.region.size(); ++i) {
    const std::int32_t region = program.owned.region[i];
    if (region < program.rank.regionBegin[rank] || region >= program.rank.regionBegin[rank + 1]) continue;
    const std::int32_t tensor = program.region.tensor[region], width = program.tensor.width[tensor];
    const auto code = static_cast<TensorCode>(program.tensor.code[tensor]);
    const float* values = outputs.of(code);
    if (program.tensor.role[tensor] != 1 || values == nullptr) continue;
    for (std::int32_t head = program.region.headBegin[region]; head < program.region.headEnd[region]; ++head) {
      for (std::int64_t token = program.owned.tokenBegin[i]; token < program.owned.tokenEnd[i]; ++token)
        digest += digestOfRow(code, head, token, values + (head * tokens + token) * width, width);
    }
  }
  return digest;
}

}  // namespace hsap
