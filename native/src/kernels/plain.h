// Tiles computed row by row with plain loops and no working memory, for head dimensions too large to be packed.
#pragma once

#include "hsap/kernels.h"

namespace hsap {

void plainForward(const Tile& tile);
void plainBackward(const Tile& tile);

}  // namespace hsap
