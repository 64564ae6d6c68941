#include "strided_copy.h"

#include <cstring>

namespace hsap {

namespace {

[[maybe_unused]] float toFloat(float x) { return x; }

template <class Element>
Element fromFloat(float x) {
  if constexpr (std::is_same_v<Element, Bf16>) {
    return toBf16(x);
  } else {
    return x;
  }
}

template <class Target, class Source>
void copyRun(Target* target, const Source* source, std::size_t count, bool bf16) {
  if constexpr (std::is_same_v<Target, Source>) {
    // What is stored as bf16 is rounded already.
    if (!bf16 || std::is_same_v<Source, Bf16>) {
      std::memcpy(target, source, count * sizeof(Target));
      return;
    }
    for (std::size_t i = 0; i < count; ++i) target[i] = fromFloat<Target>(toFloat(toBf16(toFloat(source[i]))));
  } else {
    for (std::size_t i = 0; i < count; ++i) target[i] = fromFloat<Target>(toFloat(source[i]));
  }
}

template <class Target, class Source>
void copyRows(const BasicView<Target>& target, const BasicView<Source>& source, std::int32_t tokens, std::int32_t heads,
              std::int32_t width, bool bf16) {
  // Rows that follow one another on both sides make one long run for each head.
  const bool dense = target.tokenStride == width && source.tokenStride == width;
  for (std::int32_t head = 0; head < heads; ++head) {
    Target* into = target.data + head * target.headStride;
    const Source* from = source.data + head * source.headStride;
    if (dense) {
      copyRun(into, from, static_cast<std::size_t>(tokens) * width, bf16);
      continue;
    }
    for (std::int32_t token = 0; token < tokens; ++token)
      copyRun(into + token * target.tokenStride, from + token * source.tokenStride, width, bf16);
  }
}

}  // namespace

void copyBlock(const BlockView& target, const BlockView& source, std::int32_t tokens, std::int32_t heads, std::int32_t width,
               bool bf16) {
  const auto from = [&]<class Target>(const BasicView<Target>& into) {
    if (source.type == ElementType::fp32) {
      copyRows(into, source.as<float>(), tokens, heads, width, bf16);
    } else {
      copyRows(into, source.as<Bf16>(), tokens, heads, width, bf16);
    }
  };
  if (target.type == ElementType::fp32) {
    from(target.as<float>());
  } else {
    from(target.as<Bf16>());
  }
}

}  // namespace hsap
