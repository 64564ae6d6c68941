// Tiles computed row by row with plain loops and no working memory, for head dimensions too large to be packed.
#pragma once

#include "hsap/kernels.h"

namespace hsap {

template <class Element>
void plainForward(const BasicTile<Element>& tile);
template <class Element>
void plainBackward(const BasicTile<Element>& tile);

extern template void plainForward(const BasicTile<float>&);
extern template void plainForward(const BasicTile<Bf16>&);
extern template void plainBackward(const BasicTile<float>&);
extern template void plainBackward(const BasicTile<Bf16>&);

}  // namespace hsap
