// How MPI is called here: one thread at a time, errors as exceptions, and sleep instead of spinning.
#pragma once

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <mutex>

namespace hsap::mpi {

// Every call of MPI holds it, so that MPI_THREAD_SERIALIZED is all that is needed, and MPI need not lock inside.
std::timed_mutex& callMutex();

// Throws std::runtime_error that names the call if `code` is an error.
void check(int code, const char* call);

// Calls `function` under the mutex and checks its code.
template <typename Function>
void guarded(const char* call, Function function) {
  const std::lock_guard lock(callMutex());
  check(function(), call);
}

// Open MPI looks at its sockets in only every eighth call that finds nothing done. Between two looks we sleep, so a look is
// as many calls, or what comes over TCP would wait for eight sleeps.
constexpr int callsOfALook = 8;

// Paces a loop that looks at pending requests: it spins for the first moments, then sleeps for longer and longer, up to a
// sixteenth of the time waited, so that a waiting rank leaves its processor to its tiles.
class Pace {
 public:
  explicit Pace(double longestUs);
  void pause();
  // Something arrived: the next thing may come as soon.
  void restart() { begin_ = std::chrono::steady_clock::now(); }

 private:
  const double longestUs_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// Waits for one request. Throws TransportAborted once `left` is set, and leaves the request pending then.
void await(MPI_Request& request, double longestUs, const std::atomic<bool>& left);

}  // namespace hsap::mpi
