// A block in memory whose element type is known only when a program runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>

#include "hsap/kernels.h"

namespace hsap {

// Codes are those of the dtype column of LoweredSchedule in packages/schedule.
enum class ElementType : std::uint8_t { fp32 = 0, bf16 = 1 };

constexpr std::size_t bytesOf(ElementType type) { return type == ElementType::fp32 ? 4 : 2; }

template <class Element>
constexpr ElementType elementTypeOf = std::is_same_v<Element, Bf16> ? ElementType::bf16 : ElementType::fp32;

// Element (token t, head h, column c) lies (h * headStride + t * tokenStride + c) elements behind data.
struct BlockView {
  std::byte* data = nullptr;
  std::ptrdiff_t headStride = 0, tokenStride = 0;
  ElementType type = ElementType::fp32;

  BlockView() = default;
  BlockView(std::byte* first, std::ptrdiff_t headStep, std::ptrdiff_t tokenStep, ElementType elements)
      : data(first), headStride(headStep), tokenStride(tokenStep), type(elements) {}
  template <class Element>
  BlockView(const BasicView<Element>& view)
      : data(reinterpret_cast<std::byte*>(view.data)),
        headStride(view.headStride),
        tokenStride(view.tokenStride),
        type(elementTypeOf<Element>) {}

  // The same block, `tokens` and `heads` further on.
  BlockView at(std::ptrdiff_t tokens, std::ptrdiff_t heads) const {
    const std::ptrdiff_t elements = heads * headStride + tokens * tokenStride;
    return {data + elements * static_cast<std::ptrdiff_t>(bytesOf(type)), headStride, tokenStride, type};
  }

  // The view that kernels take. A program whose operands are of another type was refused before it ran.
  template <class Element>
  BasicView<Element> as() const {
    if (type != elementTypeOf<Element>) throw std::logic_error("block is not of the type it is used as");
    return {reinterpret_cast<Element*>(data), headStride, tokenStride};
  }
};

}  // namespace hsap
