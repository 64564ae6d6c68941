// The memory of one rank, reserved as a whole: the system gives pages when they are touched.
#pragma once

#include <cstddef>

namespace hsap {

class Arena {
 public:
  // Throws std::bad_alloc when the system promises no more.
  explicit Arena(std::size_t bytes);
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  // Aligned to a page.
  std::byte* data() const { return data_; }
  // Bytes of the pages that the system has given so far, at most `bytes`.
  std::size_t residentBytes() const;

 private:
  std::byte* data_ = nullptr;
  const std::size_t bytes_;
};

}  // namespace hsap
