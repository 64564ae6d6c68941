// Runs a lowered schedule: two lanes, hence two threads, for each rank of this process.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "hsap/inputs.h"
#include "hsap/kernels.h"
#include "hsap/program.h"
#include "hsap/transport.h"

namespace hsap {

struct CollectivePlan;

// Ends a run from outside, from any thread. A run notices between ops, between pieces of work of well under a second, and
// wherever it sleeps.
class Cancellation {
 public:
  void request();
  bool requested() const { return requested_.load(); }

  // Calls `wake` at the request, at once if there was one; `detach` returns only when `wake` is not running.
  void attach(std::function<void()> wake);
  void detach();

 private:
  std::atomic<bool> requested_ = false;
  std::mutex mutex_;
  std::function<void()> wake_;
};

// For tests: the rank throws as it is about to run this op, counted from 0 in its program.
struct Fault {
  std::int32_t rank = 0, op = 0;
};

struct RunOptions {
  InputSource inputs;
  Isa isa = Isa::scalar;
  bool alias = true;              // hand over pointers to what never changes; otherwise every block is copied
  double linkBytesPerSecond = 0;  // above 0: no link between two ranks is faster
  // Threads that compute for each rank. The bits do not depend on their number.
  std::int32_t threadsPerRank = 1;
  // Above 0: no more threads than that compute at once, over all ranks. A rank gets at most its share of them, and at least one;
  // where there are more ranks than that, they take turns.
  std::int32_t maxThreads = 0;
  // Binds each computing thread to a core of its own, if this process may use so many and they are free.
  bool pin = true;
  // Where not empty: the file that a thread joins a control group by, writing 0 to it. Computing threads do so as the run
  // starts, and are held to the group's share of a core; those that move data are not.
  std::string computeGroup;
  // Tiles are given to the kernels in units of at most about so many pairs x heads x headDim, and a run can be stopped between
  // them. The default is 0.5 GFLOP forward and 1.25 backward: some ten milliseconds on a fast core, well under a second on a slow
  // and crowded one, and so much that packing keys anew for each unit costs little. The bits depend on it.
  double pieceWork = 1.25e8;
  std::optional<Fault> fault;
  // Where the ranks are processes: the one that runs here, over a transport that outlives the run. Otherwise all of them run
  // here.
  std::optional<std::int32_t> rank;
  Transport* transport = nullptr;
  const CollectivePlan* collectives = nullptr;  // of that rank, if groups may become collectives
  // Of the forward pass, needed for a backward pass: o [heads][tokens][headDim] and lse [heads][tokens].
  const float* savedO = nullptr;
  const float* savedLse = nullptr;
  // By row of the program's tensor table: whole tensors [head][row][width] from which inputs are taken, instead of being
  // generated, and into which each rank writes its rows of the outputs. Empty, or null for a tensor, where the caller has none.
  std::span<float* const> tensors = {};

  float* tensor(std::int32_t row) const { return tensors.empty() ? nullptr : tensors[static_cast<std::size_t>(row)]; }
};

// Global tensors [head][token][width] into which each rank writes the rows it owns; null where not wanted.
struct RunOutputs {
  float *o = nullptr, *lse = nullptr;
  float *dq = nullptr, *dk = nullptr, *dv = nullptr;

  // Null for a tensor that is no output.
  float* of(TensorCode code) const {
    switch (code) {
      case TensorCode::o:
        return o;
      case TensorCode::lse:
        return lse;
      case TensorCode::dq:
        return dq;
      case TensorCode::dk:
        return dk;
      case TensorCode::dv:
        return dv;
      default:
        return nullptr;
    }
  }
};

// The threads that ran a program.
struct RunThreads {
  std::int32_t perRank = 1;              // that compute
  std::int32_t computing = 0;            // of all ranks here
  std::int32_t communicating = 0;        // asleep but for copying
  std::vector<std::int32_t> cores = {};  // of each computing thread, rank by rank; empty if they were left to the system
  std::string unpinned = {};             // why they were
};

// One row for each op, in microseconds on the steady clock since all ranks were ready.
// - A send or receive begins and ends with its group. The processor time of the group is split over its receives by bytes
//   (the receiver copies); in a group without receives, over its sends.
// - Consecutive tiles run as one batch, in units of bounded work; a unit's wall and processor time is split over its tiles by
//   unmasked pairs, in order. Where several threads share a batch, so is that of the whole batch.
// - Processor time of a computation is that of all threads of its rank, of a transfer that of the thread that communicates.
struct RunTrace {
  std::span<double> beginUs, endUs, busyUs;
  double durationUs = 0;  // when the last lane ended
  RunThreads threads = {};
  std::vector<double> residentBytes = {};  // of each rank's arena, what the system has given pages for: what was touched
};

class RunError : public std::runtime_error {
 public:
  RunError(std::string errorCode, const std::string& message) : std::runtime_error(message), code(std::move(errorCode)) {}
  const std::string code;  // "unsupported-isa", "invalid-run", "out-of-memory", "rank-failed" or "aborted"
};

// Runs a program that checkProgram accepted, or one rank's part of it; the trace has a row for each of its ops, and those of the
// ranks that run here are filled. The same program and options give the same bits, with and without aliases.
//
// Throws RunError, with the codes listed there: before anything runs if options do not fit the program or the machine; with the
// first failure of any rank, naming rank and op, as when it owns rows of an input that the engine cannot make; or after a
// cancellation.
void runProgram(const Program& program, const RunOptions& options, const RunOutputs& outputs, RunTrace& trace,
                Cancellation& cancellation);

}  // namespace hsap
