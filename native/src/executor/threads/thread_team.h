// The computing threads of one rank, kept for a run: they sleep until there is work for all of them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "hsap/scratch.h"

namespace hsap {

class ThreadTeam {
 public:
  using Body = std::function<void(std::int32_t thread)>;

  // A team of `threads`, of which the caller is number 0. Each of the others calls `begin` once, before anything else. Throws
  // std::system_error when the system has no more threads.
  ThreadTeam(std::int32_t threads, const Body& begin);
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam();

  std::int32_t size() const { return static_cast<std::int32_t>(workers_.size()) + 1; }
  // Processor time that the threads other than the caller have spent in calls so far, in microseconds.
  double othersBusyUs() const { return othersBusyUs_; }
  // The working memory of one of the threads.
  Scratch& scratch(std::int32_t thread) { return scratch_[thread]; }

  // Calls body(thread) once on every thread of the team, and returns when all calls have ended. Throws what the first of them
  // threw. For the thread that made the team.
  void run(const Body& body);

  // Calls body(piece, thread) for each of `count` pieces, on whichever thread comes first; after an exception the rest is left
  // out.
  void forPieces(std::int64_t count, const std::function<void(std::int64_t piece, std::int32_t thread)>& body);

 private:
  void work(std::int32_t thread, const Body& begin);
  void call(std::int32_t thread, const Body& body) noexcept;
  void end();

  std::vector<std::thread> workers_;
  std::deque<Scratch> scratch_;
  std::mutex mutex_;
  std::condition_variable started_, ended_;
  const Body* body_ = nullptr;
  std::uint64_t rounds_ = 0;
  std::size_t working_ = 0;
  double othersBusyUs_ = 0;
  bool over_ = false;
  std::exception_ptr failure_;
};

}  // namespace hsap
