#include "memory/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <vector>

namespace hsap {

Arena::Arena(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(memory);
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

std::size_t Arena::residentBytes() const {
  if (data_ == nullptr) return 0;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
#if defined(__APPLE__)
  std::vector<char> pages((bytes_ + page - 1) / page);
#else
  std::vector<unsigned char> pages((bytes_ + page - 1) / page);
#endif
  if (mincore(data_, bytes_, pages.data()) != 0) return 0;
  const auto given = static_cast<std::size_t>(std::count_if(pages.begin(), pages.end(), [](auto state) { return state & 1; }));
  return std::min(given * page, bytes_);
}

}  // namespace hsap
