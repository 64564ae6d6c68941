#include "lanes/run_state.h"

namespace hsap {

void LaneCounter::advanceTo(std::int32_t count) {
  const std::lock_guard lock(mutex_);
  count_ = count;
  changed_.notify_all();
}

void LaneCounter::await(std::int32_t count, const std::atomic<bool>& stopped) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return count_ >= count || stopped.load(); });
  if (stopped.load()) throw Stopped{};
}

void LaneCounter::wake() {
  // With the lock held, a sleeper has either seen the stop or is asleep and hears this.
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void RunState::startTogether(std::int32_t ranks) {
  bool last = false;
  {
    const std::lock_guard lock(mutex_);
    last = ++arrived_ == ranks;
  }
  if (last) {
    transport_.synchronise();
    const std::lock_guard lock(mutex_);
    origin_ = std::chrono::steady_clock::now();
    running_ = true;
    started_.notify_all();
  }
  awaitStart();
}

void RunState::awaitStart() {
  std::unique_lock lock(mutex_);
  started_.wait(lock, [&] { return running_ || stopped_.load(); });
  if (stopped_.load()) throw Stopped{};
}

void RunState::endTogether(std::int32_t ranks) {
  std::unique_lock lock(mutex_);
  if (++finished_ == ranks) ended_.notify_all();
  ended_.wait(lock, [&] { return finished_ == ranks || stopped_.load(); });
  if (stopped_.load()) throw Stopped{};
}

double RunState::nowUs() const {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - origin_).count();
}

void RunState::stop(const std::string& failure) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.empty() && !stopped_.load()) failure_ = failure;
    stopped_.store(true);
    started_.notify_all();
    ended_.notify_all();
  }
  for (LaneCounter& counter : groups_) counter.wake();
  for (LaneCounter& counter : computations_) counter.wake();
  transport_.abort();
}

std::string RunState::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace hsap
