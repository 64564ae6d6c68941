// Working memory of one kernel thread.
#pragma once

#include <cstddef>

namespace hsap {

// A 64-byte aligned buffer that grows to what the largest call needed and is kept between calls. One per thread: a kernel
// call may use it, nobody else may read it, and its contents mean nothing after the call.
class Scratch {
 public:
  static constexpr std::size_t maxBytes = std::size_t{2} << 20;

  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  // At least `bytes` of memory, aligned to 64 bytes. Earlier contents are lost when it grows.
  // Throws std::length_error above maxBytes and std::bad_alloc when the system has none left.
  void* reserve(std::size_t bytes);

  std::size_t capacityBytes() const { return capacityBytes_; }

 private:
  void* data_ = nullptr;
  std::size_t capacityBytes_ = 0;
};

}  // namespace hsap
