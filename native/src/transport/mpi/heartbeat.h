// Tells a rank that waits from a rank that is dead or cut off: every rank says to its neighbours that it lives.
#pragma once

#include <mpi.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

namespace hsap::mpi {

// A thread that sends a byte to the ranks before and after this one, in a ring, some ten times in every `timeoutS`, and watches
// for theirs. It also moves MPI's unfinished business on while no other thread calls MPI. Where nothing comes from a neighbour
// for `timeoutS` of this process's own running time, or a call of MPI does not return for as long, it calls `report` with the
// neighbour, or -1, and ends.
class Heartbeat {
 public:
  using Report = std::function<void(std::int32_t silent)>;

  // `communicator` is for this object alone.
  Heartbeat(MPI_Comm communicator, double timeoutS, Report report);
  ~Heartbeat() { stop(); }

  // Ends the thread; the object calls MPI no more.
  void stop();
  // The same, and takes back what was still asked of MPI, once all ranks have come so far.
  void finish();

 private:
  struct Neighbour {
    std::int32_t rank = -1;
    double silentS = 0;
    char sent = 0, received = 0;
    MPI_Request send = MPI_REQUEST_NULL, receive = MPI_REQUEST_NULL;
  };

  void run();
  void beat();
  // Takes what has come, and returns whether the neighbour has been silent for too long.
  bool isSilent(Neighbour& neighbour, double elapsedS);

  const MPI_Comm communicator_;
  const double timeoutS_;
  const Report report_;
  std::array<Neighbour, 2> neighbours_;
  std::atomic<bool> stopped_ = false;
  std::thread thread_;
};

}  // namespace hsap::mpi
