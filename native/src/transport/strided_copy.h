// Copies blocks between memory of different strides and element types.
#pragma once

#include "hsap/block_view.h"

namespace hsap {

// target = source for tokens x heads x width elements; with bf16, each element is rounded to the nearest bf16 on its way.
void copyBlock(const BlockView& target, const BlockView& source, std::int32_t tokens, std::int32_t heads, std::int32_t width,
               bool bf16);

}  // namespace hsap
