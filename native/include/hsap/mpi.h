// Ranks as processes of an MPI job. The implementation is a library of its own, hsap_mpi.so, so that nothing else needs MPI, and
// a build for one MPI can be exchanged for another's: only this header is shared with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hsap/transport.h"

namespace hsap {

struct MpiOptions {
  // A rank that hears nothing from a neighbour for so long ends the job.
  double timeoutS = 12;
  // The longest sleep between two looks at what is pending. Sleeps grow with the time waited, to at most a sixteenth of it.
  double pollUs = 2000;
  // Whether collective groups move by MPI's own collectives, or as single transfers like all others.
  bool collectives = true;
};

struct MpiInfo {
  std::string library;      // name and version of the implementation
  std::string standard;     // of the MPI standard that it supports
  std::string threadLevel;  // what it allows threads: "serialized" or "multiple"
  std::int32_t rank = 0, ranks = 1;
  std::int32_t nodeRank = 0, nodeRanks = 1;  // among the ranks that share memory with this one
  std::vector<std::string> hosts;            // of every rank
};

// This process's place in its job. Functions that involve other ranks are called by all of them alike, one at a time; they throw
// TransportAborted after `leave`, and std::runtime_error where MPI reports an error.
class MpiProcess {
 public:
  virtual ~MpiProcess() = default;

  virtual const MpiInfo& info() const = 0;

  // Makes the communicators that are still missing for these sets of members (the same on every rank, in the same order).
  virtual std::unique_ptr<Transport> makeTransport(const std::vector<std::vector<std::int32_t>>& memberSets) = 0;

  // Gives every rank the bytes of `root`.
  virtual void broadcast(std::vector<std::byte>& bytes, std::int32_t root) = 0;
  // Every rank's bytes at `root`, by rank; nothing elsewhere.
  virtual std::vector<std::vector<std::byte>> gather(std::span<const std::byte> bytes, std::int32_t root) = 0;

  // From any thread: this process takes no part any more, and whoever waits here is woken. Nothing but `fail` may follow.
  virtual void leave() noexcept = 0;
  // Waits for all ranks and leaves MPI. Nothing may follow.
  virtual void finish() = 0;
  // Prints the line on standard error and ends the job, all ranks of it, with exit code 1.
  [[noreturn]] virtual void fail(const std::string& line) noexcept = 0;
};

// What hsap_mpi.so exports, with C names. The process is made once and lives until the end of the program.
inline constexpr const char* mpiDescribeSymbol = "hsapDescribeMpi";
inline constexpr const char* mpiJoinSymbol = "hsapJoinMpi";
using DescribeMpi = void(MpiInfo& info);                 // library and standard only; without joining a job
using JoinMpi = MpiProcess&(const MpiOptions& options);  // throws std::runtime_error if MPI does not start

}  // namespace hsap
