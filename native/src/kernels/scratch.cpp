#include "hsap/scratch.h"

#include <new>
#include <stdexcept>
#include <string>

namespace hsap {

namespace {
constexpr std::align_val_t lineBytes{64};
}

Scratch::~Scratch() { ::operator delete(data_, lineBytes); }

void* Scratch::reserve(std::size_t bytes) {
  if (bytes <= capacityBytes_) return data_;
  if (bytes > maxBytes) {
    throw std::length_error("invalid scratch size: " + std::to_string(bytes) + " bytes (at most " +
                            std::to_string(maxBytes) + ")");
  }
  ::operator delete(data_, lineBytes);
  data_ = nullptr;
  capacityBytes_ = 0;
  data_ = ::operator new(bytes, lineBytes);
  capacityBytes_ = bytes;
  return data_;
}

}  // namespace hsap
