#include "kernel_sets.h"
#include "tiles/forward.h"
#include "vectors/simd_avx512bf16.h"

namespace hsap {

void forwardAvx512Bf16(const Bf16Tile* tiles, std::size_t count, Scratch& scratch) {
  forwardTiles<Avx512Bf16>(tiles, count, scratch);
}

}  // namespace hsap
