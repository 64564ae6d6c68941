#include "hsap/executor.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "hsap/collectives.h"
#include "lanes/communication_lane.h"
#include "lanes/computation_lane.h"
#include "program/checks.h"
#include "threads/placement.h"

namespace hsap {

void Cancellation::request() {
  const std::lock_guard lock(mutex_);
  requested_.store(true);
  if (wake_) wake_();
}

void Cancellation::attach(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
  if (requested_.load()) wake_();
}

void Cancellation::detach() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
}

namespace {

// Everything one rank needs from its preparation to the end of the run. Lanes live until all threads have ended, as after an
// abort other ranks may still read what a lane had posted.
struct RankRun {
  LanePlan plan;
  std::unique_ptr<RankMemory> memory;
  std::unique_ptr<ThreadTeam> team;
  std::unique_ptr<ComputationLane> computation;
  std::unique_ptr<CommunicationLane> communication;
  double endUs = 0;
};

class Run {
 public:
  Run(const Program& program, const RunOptions& options, const RunOutputs& outputs, RunTrace& trace, const Kernels& kernels)
      : program_(program),
        options_(options),
        outputs_(outputs),
        trace_(trace),
        kernels_(kernels),
        ownMemory_(regionsWithOwnMemory(program)),
        firstRank_(options.rank.value_or(0)),
        endRank_(options.rank ? *options.rank + 1 : program.ranks()),
        ownTransport_(options.transport ? nullptr
                                        : makeLocalTransport(program.ranks(), {options.alias, options.linkBytesPerSecond})),
        transport_(options.transport ? *options.transport : *ownTransport_),
        threadsPerRank_(threadsPerRank(options, endRank_ - firstRank_)),
        placement_(placementOf(options, threadsPerRank_ * (endRank_ - firstRank_))),
        state_(program.ranks(), transport_, options.maxThreads),
        ranks_(program.ranks()) {}

  void run(Cancellation& cancellation) {
    std::fill(trace_.beginUs.begin(), trace_.beginUs.end(), 0.0);
    std::fill(trace_.endUs.begin(), trace_.endUs.end(), 0.0);
    std::fill(trace_.busyUs.begin(), trace_.busyUs.end(), 0.0);
    cancellation.attach([this] { state_.stop(); });
    runThreads();
    cancellation.detach();
    keepWhatIsUnderWay();
    if (const std::string failure = state_.failure(); !failure.empty()) throw RunError("rank-failed", failure);
    if (state_.stopped()) throw RunError("aborted", "run aborted");
    trace_.durationUs = 0;
    for (const RankRun& rank : ranks_) trace_.durationUs = std::max(trace_.durationUs, rank.endUs);
    describe();
  }

 private:
  static std::int32_t threadsPerRank(const RunOptions& options, std::int32_t ranks) {
    if (options.maxThreads == 0) return options.threadsPerRank;
    return std::max(1, std::min(options.threadsPerRank, options.maxThreads / ranks));
  }

  static Placement placementOf(const RunOptions& options, std::int32_t threads) {
    if (!options.pin) return Placement("not asked for");
    // Each process sees the same cores and would choose the same.
    if (options.rank) return Placement("left to what started the processes");
    if (options.maxThreads > 0 && threads > options.maxThreads) return Placement("fewer threads compute at once than there are");
    return Placement::take(threads);
  }

  void describe() {
    RunThreads& threads = trace_.threads;
    threads = {threadsPerRank_, threadsPerRank_ * (endRank_ - firstRank_), 0, placement_.cores(), placement_.reason()};
    trace_.residentBytes.assign(program_.ranks(), 0);
    for (std::int32_t rank = firstRank_; rank < endRank_; ++rank) {
      threads.communicating += ranks_[rank].communication != nullptr;
      trace_.residentBytes[rank] = static_cast<double>(ranks_[rank].memory->residentBytes());
    }
  }

  // Number of a computing thread among those of all ranks here: those of a rank are neighbours.
  void enter(std::int32_t rank, std::int32_t thread) const {
    nameThread("hsap " + std::to_string(rank) + "." + std::to_string(thread));
    placement_.bind((rank - firstRank_) * threadsPerRank_ + thread);
    // The rank's own thread first prepares, which is no device's work.
    if (thread > 0) joinComputeGroup();
  }

  void joinComputeGroup() const {
    if (!options_.computeGroup.empty()) joinGroup(options_.computeGroup);
  }

  void runThreads() {
    std::vector<std::thread> threads;
    try {
      for (std::int32_t rank = firstRank_; rank < endRank_; ++rank) threads.emplace_back([this, rank] { runRank(rank); });
    } catch (const std::exception& error) {
      state_.stop(std::string("cannot start a thread for every rank: ") + error.what());
    }
    for (std::thread& thread : threads) thread.join();
  }

  // What an aborted rank had wanted to receive may still be written by whoever moves it.
  void keepWhatIsUnderWay() {
    static auto* keptForEver = new std::vector<std::unique_ptr<RankMemory>>;
    static std::mutex mutex;
    for (std::int32_t rank = firstRank_; rank < endRank_; ++rank) {
      if (!ranks_[rank].communication || !transport_.endpoint(rank).underWay()) continue;
      const std::lock_guard lock(mutex);
      keptForEver->push_back(std::move(ranks_[rank].memory));
    }
  }

  // The rank's own thread computes, with those of its team; another one communicates, if there is anything to say.
  void runRank(std::int32_t rank) {
    RankRun& own = ranks_[rank];
    enter(rank, 0);
    std::thread communication;
    guarded(
        rank, [&] { return own.computation ? own.computation->row() : -1; },
        [&] {
          prepare(rank);
          if (own.communication) communication = std::thread([this, rank] { runCommunication(rank); });
          joinComputeGroup();
          state_.startTogether(endRank_ - firstRank_);
          own.computation->run();
          state_.awaitGroups(rank, static_cast<std::int32_t>(own.plan.groups.size()));
          own.endUs = state_.nowUs();
          // Gathering takes a core from ranks that still compute, and would be measured as if it were theirs.
          state_.endTogether(endRank_ - firstRank_);
          // Ranks may each own a copy of the same rows, with the same bits.
          const std::lock_guard lock(gathering_);
          own.memory->gatherOutputs(options_, outputs_);
        });
    if (communication.joinable()) communication.join();
  }

  void runCommunication(std::int32_t rank) {
    CommunicationLane& lane = *ranks_[rank].communication;
    nameThread("hsap " + std::to_string(rank) + " comm");
    placement_.unbind();
    guarded(
        rank, [&] { return lane.row(); },
        [&] {
          state_.awaitStart();
          lane.run();
        });
  }

  void prepare(std::int32_t rank) {
    RankRun& own = ranks_[rank];
    own.plan = planLanes(program_, rank, ownMemory_);
    if (options_.collectives != nullptr) {
      for (std::size_t i = 0; i < own.plan.groups.size(); ++i)
        own.plan.groups[i].collective = options_.collectives->ofGroup.at(i);
    }
    own.memory = std::make_unique<RankMemory>(program_, rank, ownMemory_);
    const LaneContext context{program_, options_, own.plan, rank, *own.memory, state_, trace_};
    own.team = std::make_unique<ThreadTeam>(threadsPerRank_, [this, rank](std::int32_t thread) { enter(rank, thread); });
    own.computation = std::make_unique<ComputationLane>(context, kernels_, *own.team);
    if (!own.plan.groups.empty()) own.communication = std::make_unique<CommunicationLane>(context, transport_.endpoint(rank));
    own.computation->prepare(transport_.aliases());
    if (own.communication) own.communication->prepare();
  }

  // Runs a lane; whatever it throws ends the run for everybody. `row` says at which op it was.
  template <typename Row, typename Body>
  void guarded(std::int32_t rank, Row row, Body body) noexcept {
    try {
      body();
    } catch (const Stopped&) {
    } catch (const TransportAborted&) {
      // The process may have left the transport without ending the run: the rank's other lane must not wait for this one.
      state_.stop();
    } catch (const std::exception& error) {
      state_.stop((row() < 0 ? "rank " + std::to_string(rank) : opText(program_, row())) + " failed: " + error.what());
    }
  }

  const Program& program_;
  const RunOptions& options_;
  const RunOutputs& outputs_;
  RunTrace& trace_;
  const Kernels& kernels_;
  const std::vector<bool> ownMemory_;
  const std::int32_t firstRank_, endRank_;
  const std::unique_ptr<Transport> ownTransport_;
  Transport& transport_;
  const std::int32_t threadsPerRank_;
  const Placement placement_;
  RunState state_;
  std::vector<RankRun> ranks_;
  std::mutex gathering_;
};

// Where memory is promised without being there, a run that needs too much would not fail but be killed, and others with it.
void checkMemory(const Program& program, bool alias, std::optional<std::int32_t> only) {
  double total = 0, largest = 0;
  for (std::int32_t rank = only.value_or(0); rank < (only ? *only + 1 : program.ranks()); ++rank) {
    total += program.rank.arenaBytes[rank];
    largest = std::max(largest, program.rank.arenaBytes[rank]);
  }
  // What is handed over needs no memory, so that with aliases only a single arena is sure to be too large.
  const double needed = alias ? largest : total;
  const double machine = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (needed <= machine) return;
  std::ostringstream text;
  text << "the arenas of " << (only ? 1 : program.ranks()) << " ranks need " << static_cast<std::int64_t>(needed / 1048576)
       << " MiB (this machine has " << static_cast<std::int64_t>(machine / 1048576) << ")";
  throw RunError("out-of-memory", text.str());
}

void checkOptions(const Program& program, const RunOptions& options, const RunTrace& trace) {
  const auto ops = static_cast<std::size_t>(program.ops());
  if (trace.beginUs.size() != ops || trace.endUs.size() != ops || trace.busyUs.size() != ops)
    throw RunError("invalid-run", "the trace has no row for each of " + std::to_string(ops) + " ops");
  if (options.rank && (*options.rank < 0 || *options.rank >= program.ranks() || options.transport == nullptr))
    throw RunError("invalid-run", "rank " + std::to_string(*options.rank) + " of " + std::to_string(program.ranks()) +
                                      " cannot run by itself without a transport to the others");
  if (options.threadsPerRank < 1 || options.threadsPerRank > 1024 || options.maxThreads < 0)
    throw RunError("invalid-run", std::to_string(options.threadsPerRank) + " threads per rank, at most " +
                                      std::to_string(options.maxThreads) + " (must be 1 to 1024, and at least 0)");
  if (!(options.pieceWork > 0))
    throw RunError("invalid-run",
                   "pieces of " + std::to_string(options.pieceWork) + " pairs x heads x headDim (must be above 0)");
  if (const std::size_t tensors = program.tensor.code.size(); !options.tensors.empty() && options.tensors.size() != tensors)
    throw RunError("invalid-run", std::to_string(options.tensors.size()) +
                                      " tensors are given (must be one, or none, for each of " + std::to_string(tensors) + ")");
  if (program.problem.backward && options.tensors.empty() && (options.savedO == nullptr || options.savedLse == nullptr))
    throw RunError("invalid-run", "a backward pass needs o and lse of the forward pass");
}

}  // namespace

void runProgram(const Program& program, const RunOptions& options, const RunOutputs& outputs, RunTrace& trace,
                Cancellation& cancellation) {
  checkOptions(program, options, trace);
  checkMemory(program, options.alias, options.rank);
  const Kernels* kernels = kernelsFor(options.isa);
  if (kernels == nullptr)
    throw RunError("unsupported-isa", std::string("this processor or build has no ") + isaName(options.isa) + " kernels");
  Run(program, options, outputs, trace, *kernels).run(cancellation);
}

}  // namespace hsap
