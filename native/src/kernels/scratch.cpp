#include "hsap/scratch.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <new>
#include <stdexcept>
#include <string>

namespace hsap {

namespace {

constexpr std::align_val_t hugePage{Scratch::maxBytes};

// All of it is taken at once and put on one huge page where the system gives one: panels are read from end to end for every few
// rows, and their small pages would not fit the first-level translation buffer. A sanitizer gets the exact size, to see what lies
// beyond.
std::size_t allocationBytes([[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  return bytes;
#else
  return Scratch::maxBytes;
#endif
}

}  // namespace

Scratch::~Scratch() { ::operator delete(data_, hugePage); }

void* Scratch::reserve(std::size_t bytes) {
  if (bytes <= capacityBytes_) return data_;
  if (bytes > maxBytes) {
    throw std::length_error("invalid scratch size: " + std::to_string(bytes) + " bytes (at most " + std::to_string(maxBytes) +
                            ")");
  }
  ::operator delete(data_, hugePage);
  data_ = nullptr;
  capacityBytes_ = 0;
  data_ = ::operator new(allocationBytes(bytes), hugePage);
  capacityBytes_ = allocationBytes(bytes);
#if defined(__linux__)
  // Advice may be refused; small pages are slower, not wrong.
  madvise(data_, capacityBytes_, MADV_HUGEPAGE);
#endif
  return data_;
}

}  // namespace hsap
