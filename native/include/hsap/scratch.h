// Working memory of one kernel thread.
#pragma once

#include <cstddef>

namespace hsap {

// A buffer that is allocated when first needed and kept between calls. One per thread: a kernel call may use it, nobody else may
// read it, and its contents mean nothing after the call.
class Scratch {
 public:
  static constexpr std::size_t maxBytes = std::size_t{2} << 20;

  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  // At least `bytes` of memory, aligned to a page. Earlier contents are lost when it grows.
  // Throws std::length_error above maxBytes and std::bad_alloc when the system has none left.
  void* reserve(std::size_t bytes);

  std::size_t capacityBytes() const { return capacityBytes_; }

 private:
  void* data_ = nullptr;
  std::size_t capacityBytes_ = 0;
};

}  // namespace hsap
