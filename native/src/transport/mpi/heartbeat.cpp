#include "heartbeat.h"

#include <algorithm>
#include <chrono>
#include <mutex>

#include "mpi_calls.h"

namespace hsap::mpi {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds tick{20};
// So much of the time since the last look counts as silence. A busy machine lets this thread run late, and a late look must not
// make the timeout longer; but a process that was stopped itself has not listened meanwhile, and may not count that time against
// others.
constexpr double mostBetweenLooksS = 1;

}  // namespace

Heartbeat::Heartbeat(MPI_Comm communicator, double timeoutS, Report report)
    : communicator_(communicator), timeoutS_(timeoutS), report_(std::move(report)) {
  int rank = 0, ranks = 1;
  MPI_Comm_rank(communicator, &rank);
  MPI_Comm_size(communicator, &ranks);
  if (ranks == 1) return;
  neighbours_[0].rank = (rank + ranks - 1) % ranks;
  if (ranks > 2) neighbours_[1].rank = (rank + 1) % ranks;
  thread_ = std::thread([this] { run(); });
}

void Heartbeat::stop() {
  stopped_.store(true);
  if (thread_.joinable()) thread_.join();
}

void Heartbeat::finish() {
  stop();
  const std::lock_guard lock(callMutex());
  for (Neighbour& neighbour : neighbours_) {
    if (neighbour.receive != MPI_REQUEST_NULL) {
      MPI_Cancel(&neighbour.receive);
      MPI_Wait(&neighbour.receive, MPI_STATUS_IGNORE);
    }
    if (neighbour.send != MPI_REQUEST_NULL) MPI_Request_free(&neighbour.send);
  }
}

void Heartbeat::run() {
  const double intervalS = std::min(1.0, timeoutS_ / 10);
  double sinceBeatS = intervalS, blockedS = 0;
  Clock::time_point lastTry = Clock::now(), lastLook = lastTry;
  const auto secondsSince = [](Clock::time_point begin, Clock::time_point end) {
    return std::min(std::chrono::duration<double>(end - begin).count(), mostBetweenLooksS);
  };
  while (!stopped_.load()) {
    std::unique_lock lock(callMutex(), tick);
    const Clock::time_point now = Clock::now();
    if (!lock.owns_lock()) {
      blockedS += secondsSince(lastTry, now);
      lastTry = now;
      if (blockedS > timeoutS_) return report_(-1);
      continue;
    }
    const double elapsedS = secondsSince(lastLook, now);
    lastTry = lastLook = now;
    blockedS = 0;
    sinceBeatS += elapsedS;
    if (sinceBeatS >= intervalS) {
      beat();
      sinceBeatS = 0;
    }
    for (Neighbour& neighbour : neighbours_) {
      if (neighbour.rank < 0 || !isSilent(neighbour, elapsedS)) continue;
      lock.unlock();
      return report_(neighbour.rank);
    }
    lock.unlock();
    std::this_thread::sleep_for(tick);
  }
}

void Heartbeat::beat() {
  for (Neighbour& neighbour : neighbours_) {
    if (neighbour.rank < 0) continue;
    int sent = 1;
    if (neighbour.send != MPI_REQUEST_NULL) MPI_Test(&neighbour.send, &sent, MPI_STATUS_IGNORE);
    if (sent != 0) MPI_Isend(&neighbour.sent, 1, MPI_CHAR, neighbour.rank, 0, communicator_, &neighbour.send);
  }
}

bool Heartbeat::isSilent(Neighbour& neighbour, double elapsedS) {
  neighbour.silentS += elapsedS;
  for (int come = 1; come != 0;) {
    if (neighbour.receive == MPI_REQUEST_NULL)
      MPI_Irecv(&neighbour.received, 1, MPI_CHAR, neighbour.rank, 0, communicator_, &neighbour.receive);
    MPI_Test(&neighbour.receive, &come, MPI_STATUS_IGNORE);
    if (come != 0) neighbour.silentS = 0;
  }
  return neighbour.silentS > timeoutS_;
}

}  // namespace hsap::mpi
