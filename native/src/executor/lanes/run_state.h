// What the lanes of all ranks share during a run: the start line, each lane's progress, and the first failure.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "hsap/executor.h"
#include "hsap/transport.h"
#include "threads/compute_slots.h"

namespace hsap {

// Unwinds a lane because another one failed or the run was cancelled.
struct Stopped {};

// How many items a lane has finished; the other lane of its rank sleeps until there are enough.
class LaneCounter {
 public:
  void advanceTo(std::int32_t count);
  // Throws Stopped once `stopped` is set and `wake` was called.
  void await(std::int32_t count, const std::atomic<bool>& stopped);
  void wake();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::int32_t count_ = 0;
};

class RunState {
 public:
  // At most `computing` threads compute at once; 0: no limit.
  RunState(std::int32_t ranks, Transport& transport, std::int32_t computing)
      : transport_(transport), groups_(ranks), computations_(ranks), slots_(computing) {}

  ComputeSlots& slots() { return slots_; }

  LaneCounter& groups(std::int32_t rank) { return groups_[rank]; }
  LaneCounter& computations(std::int32_t rank) { return computations_[rank]; }
  void awaitGroups(std::int32_t rank, std::int32_t count) { groups_[rank].await(count, stopped_); }
  void awaitComputations(std::int32_t rank, std::int32_t count) { computations_[rank].await(count, stopped_); }

  // Returns once all ranks, `ranks` of them in this process, are ready and have called it; the last one here starts the clock.
  // Throws Stopped, or what the transport throws.
  void startTogether(std::int32_t ranks);
  // Returns once the clock runs. Throws Stopped.
  void awaitStart();
  // Returns once all ranks, `ranks` of them in this process, have done all their ops. Throws Stopped.
  void endTogether(std::int32_t ranks);
  // Microseconds since all ranks were ready.
  double nowUs() const;

  void checkpoint() const {
    if (stopped_.load(std::memory_order_relaxed)) throw Stopped{};
  }
  // Ends the run. The first message given is the one reported; none for a cancellation.
  void stop(const std::string& failure = {}) noexcept;
  bool stopped() const { return stopped_.load(); }
  std::string failure() const;

 private:
  Transport& transport_;
  std::deque<LaneCounter> groups_, computations_;
  ComputeSlots slots_;
  std::atomic<bool> stopped_ = false;
  mutable std::mutex mutex_;
  std::condition_variable started_, ended_;
  std::int32_t arrived_ = 0, finished_ = 0;
  bool running_ = false;
  std::string failure_;
  std::chrono::steady_clock::time_point origin_;
};

}  // namespace hsap
