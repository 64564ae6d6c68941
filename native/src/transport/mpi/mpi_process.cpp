// This process as a rank of an MPI job: what hsap_mpi.so exports.
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "heartbeat.h"
#include "hsap/mpi.h"
#include "mpi_calls.h"
#include "mpi_transport.h"

namespace hsap::mpi {

namespace {

constexpr std::size_t largestPiece = std::size_t{1} << 30;
// Communicators are a limited thing; more sets of members than this move as single transfers.
constexpr std::size_t mostCollectives = 256;

// MPICH over TCP often does not return from MPI_Finalize where ranks are on several hosts, even in a program that does nothing
// but meet at a barrier (UCX may wait for ever for connections to close, openucx/ucx issue 8738; seen with MPICH 4.0.2 and
// UCX 1.13). When all ranks have met nothing is left to be done but to tell the launcher that this one ends well, which has the
// words of PMI 1 for it. Returns whether it has understood.
bool takeLeaveOfHydra() {
  const char* descriptor = std::getenv("PMI_FD");
  if (descriptor == nullptr || std::getenv("MPI_LOCALRANKID") == nullptr) return false;  // another launcher
  constexpr std::string_view leave = "cmd=finalize\n", understood = "cmd=finalize_ack";
  const int hydra = std::atoi(descriptor);
  char answer[64];
  if (write(hydra, leave.data(), leave.size()) != static_cast<ssize_t>(leave.size())) return false;
  const ssize_t length = read(hydra, answer, sizeof answer);
  return length > 0 && std::string_view(answer, static_cast<std::size_t>(length)).starts_with(understood);
}

class Process final : public MpiProcess {
 public:
  explicit Process(const MpiOptions& options);

  const MpiInfo& info() const override { return info_; }
  std::unique_ptr<Transport> makeTransport(const std::vector<Members>& memberSets) override;
  void broadcast(std::vector<std::byte>& bytes, std::int32_t root) override;
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> bytes, std::int32_t root) override;
  void leave() noexcept override;
  void finish() override;
  [[noreturn]] void fail(const std::string& line) noexcept override;

 private:
  // What a broadcast or a gather moves. A process that leaves its job waits no longer, but MPI goes on with what is under way
  // whenever it is called: until all has come this stays, as long as the process if need be.
  struct Carried {
    std::uint64_t size = 0;
    std::vector<std::byte> bytes;
  };

  Carried& carry();
  void drop(const Carried& done);
  MPI_Comm duplicateOfWorld() const;
  void findHosts();
  void makeCollective(const Members& members);
  void reportSilence(std::int32_t silent);
  std::string name(std::int32_t rank) const { return "rank " + std::to_string(rank) + " on " + info_.hosts[rank]; }

  const MpiOptions options_;
  MpiInfo info_;
  MpiLinks links_;
  MPI_Comm control_ = MPI_COMM_NULL;
  std::atomic<bool> left_ = false;
  std::list<Carried> carried_;
  std::mutex carriedMutex_;
  std::optional<Heartbeat> heartbeat_;
};

void describe(MpiInfo& info) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0, version = 0, subversion = 0;
  check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  check(MPI_Get_version(&version, &subversion), "MPI_Get_version");
  // Implementations go on with who built them and how, after a comma or a line's end. MPICH says `MPICH Version:      4.0.2`.
  const std::string whole(text, std::find(text, text + length, '\0'));
  info.library = std::regex_replace(whole.substr(0, whole.find_first_of(",\n")), std::regex("\\s*Version:\\s*|\\s+"), " ");
  info.standard = std::to_string(version) + "." + std::to_string(subversion);
}

// Open MPI asks for news of its sockets by poll(), which looks at each of them, unless it is told otherwise: with a dozen peers
// that was a third of what a rank's communication took. It reads its parameters when it starts; one that is set by the user
// stays.
void preferEpoll() {
#if defined(__linux__)
  setenv("OMPI_MCA_opal_event_include", "epoll", 0);
#endif
}

Process::Process(const MpiOptions& options) : options_(options) {
  preferEpoll();
  int level = MPI_THREAD_SINGLE;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level), "MPI_Init_thread");
  describe(info_);
  if (level < MPI_THREAD_SERIALIZED)
    throw std::runtime_error(info_.library + " was built without threads (MPI_THREAD_SERIALIZED is needed)");
  info_.threadLevel = level >= MPI_THREAD_MULTIPLE ? "multiple" : "serialized";
  MPI_Comm_rank(MPI_COMM_WORLD, &info_.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &info_.ranks);
  findHosts();
  control_ = duplicateOfWorld();
  links_ = {info_.rank, info_.ranks, duplicateOfWorld(), {}, options.pollUs};
  heartbeat_.emplace(duplicateOfWorld(), options.timeoutS, [this](std::int32_t silent) { reportSilence(silent); });
}

MPI_Comm Process::duplicateOfWorld() const {
  MPI_Comm copy;
  check(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return copy;
}

void Process::findHosts() {
  MPI_Comm node;
  check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  MPI_Comm_rank(node, &info_.nodeRank);
  MPI_Comm_size(node, &info_.nodeRanks);
  MPI_Comm_free(&node);
  constexpr int width = 256;
  char own[width] = {};
  gethostname(own, width - 1);
  std::vector<char> all(static_cast<std::size_t>(width) * info_.ranks);
  check(MPI_Allgather(own, width, MPI_CHAR, all.data(), width, MPI_CHAR, MPI_COMM_WORLD), "MPI_Allgather");
  for (int rank = 0; rank < info_.ranks; ++rank) info_.hosts.emplace_back(all.data() + std::size_t{width} * rank);
}

std::unique_ptr<Transport> Process::makeTransport(const std::vector<Members>& memberSets) {
  if (options_.collectives) {
    for (const Members& members : memberSets) makeCollective(members);
  }
  return makeMpiTransport(links_, left_);
}

// Every rank goes through the same list, so members of several sets make their communicators in the same order. Ranks that are
// not members note the set too, so that all count alike.
void Process::makeCollective(const Members& members) {
  static std::map<Members, MPI_Comm> known;
  if (known.contains(members) || known.size() == mostCollectives) return;
  MPI_Comm communicator = MPI_COMM_NULL;
  if (std::binary_search(members.begin(), members.end(), info_.rank)) {
    guarded("MPI_Comm_create_group", [&] {
      MPI_Group all, some;
      MPI_Comm_group(links_.transfers, &all);
      MPI_Group_incl(all, static_cast<int>(members.size()), members.data(), &some);
      const int code = MPI_Comm_create_group(links_.transfers, some, 1, &communicator);
      MPI_Group_free(&all);
      MPI_Group_free(&some);
      return code;
    });
    check(MPI_Comm_set_errhandler(communicator, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    links_.collectives[members] = communicator;
  }
  known[members] = communicator;
}

void Process::broadcast(std::vector<std::byte>& bytes, std::int32_t root) {
  Carried& carried = carry();
  carried.size = bytes.size();
  carried.bytes = std::move(bytes);
  const auto give = [&](void* data, std::size_t count) {
    MPI_Request request;
    guarded("MPI_Ibcast", [&] { return MPI_Ibcast(data, static_cast<int>(count), MPI_BYTE, root, control_, &request); });
    await(request, options_.pollUs, left_);
  };
  give(&carried.size, sizeof carried.size);
  carried.bytes.resize(carried.size);
  for (std::size_t begin = 0; begin < carried.size; begin += largestPiece)
    give(carried.bytes.data() + begin, std::min<std::size_t>(carried.size - begin, largestPiece));
  bytes = std::move(carried.bytes);
  drop(carried);
}

std::vector<std::vector<std::byte>> Process::gather(std::span<const std::byte> bytes, std::int32_t root) {
  Carried& carried = carry();
  const auto send = [&](const void* data, std::size_t count) {
    MPI_Request request;
    guarded("MPI_Isend", [&] { return MPI_Isend(data, static_cast<int>(count), MPI_BYTE, root, 0, control_, &request); });
    await(request, options_.pollUs, left_);
  };
  const auto receive = [&](void* data, std::size_t count, int from) {
    MPI_Request request;
    guarded("MPI_Irecv", [&] { return MPI_Irecv(data, static_cast<int>(count), MPI_BYTE, from, 0, control_, &request); });
    await(request, options_.pollUs, left_);
  };
  std::vector<std::vector<std::byte>> all(info_.rank == root ? info_.ranks : 0);
  carried.size = bytes.size();
  carried.bytes.assign(bytes.begin(), bytes.end());
  if (info_.rank != root) {
    send(&carried.size, sizeof carried.size);
    for (std::size_t begin = 0; begin < carried.size; begin += largestPiece)
      send(carried.bytes.data() + begin, std::min<std::size_t>(carried.size - begin, largestPiece));
  } else {
    all[root] = std::move(carried.bytes);
    for (int rank = 0; rank < info_.ranks; ++rank) {
      if (rank == root) continue;
      receive(&carried.size, sizeof carried.size, rank);
      carried.bytes = std::vector<std::byte>(carried.size);
      for (std::size_t begin = 0; begin < carried.size; begin += largestPiece)
        receive(carried.bytes.data() + begin, std::min<std::size_t>(carried.size - begin, largestPiece), rank);
      all[rank] = std::move(carried.bytes);
    }
  }
  drop(carried);
  return all;
}

Process::Carried& Process::carry() {
  const std::lock_guard lock(carriedMutex_);
  return carried_.emplace_back();
}

void Process::drop(const Carried& done) {
  const std::lock_guard lock(carriedMutex_);
  carried_.remove_if([&](const Carried& carried) { return &carried == &done; });
}

void Process::leave() noexcept { left_.store(true); }

void Process::finish() {
  MPI_Request request;
  guarded("MPI_Ibarrier", [&] { return MPI_Ibarrier(control_, &request); });
  await(request, options_.pollUs, left_);
  heartbeat_->finish();
  const bool oneHost = std::equal(info_.hosts.begin() + 1, info_.hosts.end(), info_.hosts.begin());
  if (!oneHost && info_.library.starts_with("MPICH") && takeLeaveOfHydra()) return;
  guarded("MPI_Finalize", [] { return MPI_Finalize(); });
}

// On the heartbeat's own thread.
void Process::reportSilence(std::int32_t silent) {
  if (left_.load()) return;
  const std::string after = " for " + std::to_string(static_cast<int>(options_.timeoutS)) + " s";
  if (silent < 0) fail("hsap: " + name(info_.rank) + ": MPI has not answered" + after);
  fail("hsap: " + name(silent) + " was not heard of" + after + " by " + name(info_.rank) +
       " (it has stalled or ended, or the link to it is cut)");
}

void Process::fail(const std::string& line) noexcept {
  left_.store(true);
  const std::string whole = line + "\n";
  // One call, so that lines of several ranks do not mix.
  if (write(STDERR_FILENO, whole.data(), whole.size()) < 0) std::perror("hsap");
  // MPI may be cut off from those it would have to tell.
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::seconds(5));
    _exit(1);
  }).detach();
  MPI_Abort(MPI_COMM_WORLD, 1);
  _exit(1);
}

}  // namespace

}  // namespace hsap::mpi

extern "C" [[gnu::visibility("default")]] void hsapDescribeMpi(hsap::MpiInfo& info) { hsap::mpi::describe(info); }

extern "C" [[gnu::visibility("default")]] hsap::MpiProcess& hsapJoinMpi(const hsap::MpiOptions& options) {
  // Never destroyed: threads of the process may still wait for it when the program ends.
  static auto* process = new hsap::mpi::Process(options);
  return *process;
}
