// How many threads of a run may compute at once, whichever rank they are of.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace hsap {

class ComputeSlots {
 public:
  // 0: no limit.
  explicit ComputeSlots(std::int32_t limit) : limited_(limit > 0), free_(limit) {}

  // Held by a thread while it computes a piece of work; whoever holds one waits for nobody.
  class Turn {
   public:
    explicit Turn(ComputeSlots& slots) : slots_(slots) { slots_.take(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { slots_.give(); }

   private:
    ComputeSlots& slots_;
  };

 private:
  void take() {
    if (!limited_) return;
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] { return free_ > 0; });
    --free_;
  }
  void give() {
    if (!limited_) return;
    const std::lock_guard lock(mutex_);
    ++free_;
    freed_.notify_one();
  }

  const bool limited_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::int32_t free_;
};

}  // namespace hsap
