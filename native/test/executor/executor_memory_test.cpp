// What a run takes, as the system measures it, against what its program says.
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <deque>
#include <fstream>
#include <string>

#include "check.h"
#include "hsap/scratch.h"
#include "ring_fixture.h"

using namespace fixture;

namespace {

TEST("with copies, pages of an arena are given for all of the bytes that its program counts") {
  for (const bool bf16 : {false, true}) {
    for (const bool backward : {false, true}) {
      Ring ring(3, {4, 2, 64, bf16, true, backward, {}}, {0, 700, 3000});
      const Program program = ring.fixture.finish();
      const std::vector<float> o(std::size_t{4} * 3000 * 64), lse(std::size_t{4} * 3000);
      RunOptions options;
      options.savedO = o.data(), options.savedLse = lse.data();
      options.alias = false;
      const Results copied = run(program, options);
      options.alias = true;
      const Results aliased = run(program, options);
      for (std::int32_t rank = 0; rank < 3; ++rank) {
        const double counted = program.rank.arenaBytes[rank];
        CHECK(std::abs(copied.residentBytes[rank] - counted) <= 0.05 * counted, "rank ", rank, ": ", copied.residentBytes[rank],
              " of ", counted);
        // What is lent needs no memory. A huge page may hold it nevertheless.
        CHECK(aliased.residentBytes[rank] <= counted);
      }
    }
  }
}

#if defined(__linux__)
// Whether the system has given all pages that a block of heads without gaps reaches into.
bool isResident(const IncomingBlock& block) {
  constexpr std::uintptr_t page = 4096;
  const std::size_t elementBytes = block.view.type == ElementType::bf16 ? 2 : 4;
  for (std::int32_t head = 0; head < block.heads; ++head) {
    const auto begin = reinterpret_cast<std::uintptr_t>(block.view.data) + head * block.view.headStride * elementBytes;
    const std::uintptr_t end = begin + ((block.tokens - 1) * block.view.tokenStride + block.width) * elementBytes;
    std::vector<unsigned char> pages((end - begin) / page + 2);
    const std::uintptr_t first = begin / page * page;
    if (mincore(reinterpret_cast<void*>(first), end - first, pages.data()) != 0) return false;
    for (std::uintptr_t at = first; at < end; at += page) {
      if ((pages[(at - first) / page] & 1) == 0) return false;
    }
  }
  return true;
}

// Copies, as a transport between processes does, and looks at what it is given.
class WatchedTransport final : public Transport {
 public:
  explicit WatchedTransport(std::int32_t ranks) : copying_(makeLocalTransport(ranks, {false, 0})) {
    for (std::int32_t rank = 0; rank < ranks; ++rank) endpoints_.emplace_back(*this, copying_->endpoint(rank));
  }

  Endpoint& endpoint(std::int32_t rank) override { return endpoints_.at(rank); }
  void abort() noexcept override { copying_->abort(); }

  std::atomic<int> missing = 0;     // blocks received into memory that was not there
  std::atomic<int> unprepared = 0;  // groups larger than all that were announced
  std::atomic<int> posted = 0;

 private:
  class WatchedEndpoint final : public Endpoint {
   public:
    WatchedEndpoint(WatchedTransport& transport, Endpoint& copying) : transport_(transport), copying_(copying) {}

    void prepare(const Group& group) override {
      announced_ = std::max(announced_, bytesOf(group));
      copying_.prepare(group);
    }
    void post(Group& group) override {
      ++transport_.posted;
      if (bytesOf(group) > announced_) ++transport_.unprepared;
      for (const Receive& receive : group.receives)
        for (const IncomingBlock& block : receive.blocks) transport_.missing += isResident(block) ? 0 : 1;
      copying_.post(group);
    }
    void wait() override { copying_.wait(); }

   private:
    static std::int64_t bytesOf(const Group& group) {
      std::int64_t bytes = 0;
      for (const Receive& receive : group.receives)
        for (const IncomingBlock& block : receive.blocks) bytes += block.wireBytes();
      return bytes;
    }

    WatchedTransport& transport_;
    Endpoint& copying_;
    std::int64_t announced_ = 0;
  };

  const std::unique_ptr<Transport> copying_;
  std::deque<WatchedEndpoint> endpoints_;
};

TEST("before the start a transport that copies has heard of every group, and has memory to copy into") {
  Ring ring(3, {4, 2, 64, false, true, false, {}}, {0, 700, 3000});
  const Program program = ring.fixture.finish();
  WatchedTransport transport(3);
  RunOptions options;
  options.transport = &transport;
  run(program, options);
  CHECK(transport.posted > 0);
  CHECK(transport.missing == 0, transport.missing.load(), " blocks");
  CHECK(transport.unprepared == 0, transport.unprepared.load(), " groups");
}
#endif

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// A value of /proc/self/status, in bytes; 0 if it is not there.
double statusBytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return 1024 * std::stod(line.substr(name.size() + 1));
  }
  return 0;
}

TEST("the process grows by its arenas and working memory, and no second copy of anything") {
  // Blocks go round whole, while short documents keep the computation short.
  std::vector<std::int32_t> documents{0};
  for (std::int32_t end = 100; end <= 30000; end += 100) documents.push_back(end);
  for (const bool bf16 : {false, true}) {
    Ring ring(4, {8, 8, 64, bf16, true, false, {}}, documents);
    const Program program = ring.fixture.finish();
    double arenas = 0;
    for (const double bytes : program.rank.arenaBytes) arenas += bytes;
    RunOptions options;
    options.alias = false;
    options.isa = bestIsa();
    options.inputs.bf16 = bf16;
    std::vector<double> times(program.ops());
    RunTrace trace{times, times, times};
    Cancellation cancellation;
    // Writing 5 sets the peak back to what is resident now.
    std::ofstream("/proc/self/clear_refs") << "5";
    const double before = statusBytes("VmRSS");
    runProgram(program, options, {}, trace, cancellation);
    const double grown = statusBytes("VmHWM") - before, expected = arenas + 4.0 * Scratch::maxBytes;
    CHECK(std::abs(grown - expected) <= 0.05 * expected, "bf16 ", bf16, ": ", grown / 1048576, " MiB of ", expected / 1048576);
  }
}
#endif

}  // namespace
