// The lesser and the greater of two numbers.
#pragma once

namespace hsap {

namespace {  // Each instruction set's file gets copies compiled with its own flags, which std::min and std::max would share.

template <class T>
constexpr T least(T a, T b) {
  return b < a ? b : a;
}

template <class T>
constexpr T most(T a, T b) {
  return a < b ? b : a;
}

}  // namespace

}  // namespace hsap
