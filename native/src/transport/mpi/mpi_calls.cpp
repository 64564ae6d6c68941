#include "mpi_calls.h"

#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>

#include "hsap/transport.h"

namespace hsap::mpi {

std::timed_mutex& callMutex() {
  static std::timed_mutex mutex;
  return mutex;
}

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  throw std::runtime_error(std::string(call) + " failed: " + (length > 0 ? std::string(text, length) : std::to_string(code)));
}

Pace::Pace(double longestUs) : longestUs_(longestUs) {
#ifdef __linux__
  // By default the kernel lets a thread oversleep by 50 us.
  thread_local const bool precise = prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0) == 0;
  (void)precise;
#endif
}

void Pace::pause() {
  constexpr double spinUs = 20;
  const double waitedUs = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin_).count();
  if (waitedUs < spinUs || longestUs_ <= 0) {
    std::this_thread::yield();
    return;
  }
  std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(std::min(longestUs_, waitedUs / 16)));
}

void await(MPI_Request& request, double longestUs, const std::atomic<bool>& left) {
  Pace pace(longestUs);
  for (int done = 0;;) {
    if (left.load()) throw TransportAborted();
    for (int call = 0; call < callsOfALook && done == 0; ++call)
      guarded("MPI_Test", [&] { return MPI_Test(&request, &done, MPI_STATUS_IGNORE); });
    if (done != 0) return;
    pace.pause();
  }
}

}  // namespace hsap::mpi
