#include "threads/thread_team.h"

#include <atomic>
#include <utility>

#include "threads/thread_time.h"

namespace hsap {

ThreadTeam::ThreadTeam(std::int32_t threads, const Body& begin) : scratch_(threads) {
  try {
    for (std::int32_t thread = 1; thread < threads; ++thread)
      workers_.emplace_back([this, thread, begin] { work(thread, begin); });
  } catch (...) {
    end();
    throw;
  }
}

ThreadTeam::~ThreadTeam() { end(); }

void ThreadTeam::run(const Body& body) {
  if (workers_.empty()) return body(0);
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    working_ = workers_.size();
    ++rounds_;
    started_.notify_all();
  }
  call(0, body);
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return working_ == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadTeam::forPieces(std::int64_t count, const std::function<void(std::int64_t, std::int32_t)>& body) {
  if (workers_.empty() || count <= 1) {
    for (std::int64_t piece = 0; piece < count; ++piece) body(piece, 0);
    return;
  }
  std::atomic<std::int64_t> next = 0;
  run([&](std::int32_t thread) {
    try {
      for (std::int64_t piece = next++; piece < count; piece = next++) body(piece, thread);
    } catch (...) {
      next = count;
      throw;
    }
  });
}

void ThreadTeam::work(std::int32_t thread, const Body& begin) {
  call(thread, begin);
  std::uint64_t done = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    started_.wait(lock, [&] { return rounds_ != done || over_; });
    if (over_) return;
    done = rounds_;
    const Body& body = *body_;
    lock.unlock();
    const double busyBefore = threadTimeUs();
    call(thread, body);
    const double busyUs = threadTimeUs() - busyBefore;
    lock.lock();
    othersBusyUs_ += busyUs;
    if (--working_ == 0) ended_.notify_one();
  }
}

void ThreadTeam::call(std::int32_t thread, const Body& body) noexcept {
  try {
    body(thread);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadTeam::end() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    started_.notify_all();
  }
  for (std::thread& worker : workers_) worker.join();
}

}  // namespace hsap
