// Several threads for each rank: the same bits for any number of them, never more than asked for.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "check.h"
#include "ring_fixture.h"

using namespace fixture;

namespace {

AttentionProblem shape(std::int32_t heads, std::int32_t kvHeads, std::int32_t headDim, bool backward, bool bf16 = false) {
  return {heads, kvHeads, headDim, bf16, true, backward, {}};
}

// Many short documents and a few long ones, so that batches hold gathered tiles beside cut ones.
const std::vector<std::int32_t> documents{0, 5, 70, 71, 1163, 1200, 1207, 2300};

struct Case {
  std::int32_t ranks, heads, kvHeads, headDim;
  bool bf16;
};

TEST("1, 2, 3 and 5 threads per rank give the same bits, forward and backward") {
  for (const Case& each : {Case{1, 3, 1, 40, false}, Case{2, 4, 2, 64, false}, Case{3, 1, 1, 16, true}}) {
    for (const bool backward : {false, true}) {
      Ring ring(each.ranks, shape(each.heads, each.kvHeads, each.headDim, backward, each.bf16), documents);
      const Program program = ring.fixture.finish();
      checkProgram(program);
      const Expected expected = expect(program.problem, {});
      const std::vector<float> o = narrowed(expected.o), lse = narrowed(expected.lse);
      RunOptions options;
      options.savedO = o.data(), options.savedLse = lse.data();
      options.isa = each.bf16 ? bestIsaForBf16() : bestIsa();
      // So little work for a unit that every batch has several.
      options.pieceWork = 2e6;
      const Results one = run(program, options);
      if (backward) {
        CHECK(distance(one.dq, expected.dq) <= (each.bf16 ? 4e-3 : 3e-6), distance(one.dq, expected.dq));
        CHECK(distance(one.dk, expected.dk) <= (each.bf16 ? 4e-3 : 3e-6), distance(one.dk, expected.dk));
        CHECK(distance(one.dv, expected.dv) <= (each.bf16 ? 4e-3 : 3e-6), distance(one.dv, expected.dv));
      } else {
        CHECK(distance(one.o, expected.o) <= (each.bf16 ? 4e-3 : 1e-6), distance(one.o, expected.o));
      }
      for (const std::int32_t threads : {2, 3, 5}) {
        options.threadsPerRank = threads;
        const Results results = run(program, options);
        CHECK(results == one, each.ranks, " ranks, ", threads, " threads, backward ", backward);
        CHECK(results.threads.perRank == threads && results.threads.computing == threads * each.ranks);
      }
    }
  }
}

TEST("turns of fewer threads than ranks change no bit") {
  Ring ring(4, shape(2, 1, 32, false), documents);
  const Program program = ring.fixture.finish();
  RunOptions options;
  const Results free = run(program, options);
  options.threadsPerRank = 3;
  for (const std::int32_t most : {1, 2, 9}) {
    options.maxThreads = most;
    const Results results = run(program, options);
    CHECK(results == free, most);
    CHECK(results.threads.perRank == (most == 9 ? 2 : 1), most, ": ", results.threads.perRank);
  }
}

// Names of this process's threads that a run gave, with how many there are of each.
std::map<std::string, int> threadNames() {
  std::map<std::string, int> names;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", gone)) {
    std::ifstream file(task.path() / "comm");
    std::string name;
    if (std::getline(file, name) && name.starts_with("hsap ")) ++names[name];
  }
  return names;
}

TEST("a run has the threads that were asked for, and no more") {
  if (!std::filesystem::exists("/proc/self/task")) return;
  const std::int32_t ranks = 3, perRank = 2;
  Ring ring(ranks, shape(1, 1, 16, false), {0, 60});
  const Program program = ring.fixture.finish();
  RunOptions options;
  options.threadsPerRank = perRank;
  // A block takes a fifth of a second.
  options.linkBytesPerSecond = 2 * 20 * 16 * sizeof(float) * 5;
  std::atomic<bool> over = false;
  std::map<std::string, int> most;
  std::thread watch([&] {
    while (!over) {
      for (const auto& [name, count] : threadNames()) most[name] = std::max(most[name], count);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  const Results results = run(program, options);
  over = true;
  watch.join();
  std::map<std::string, int> expected;
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    expected["hsap " + std::to_string(rank) + " comm"] = 1;
    for (std::int32_t thread = 0; thread < perRank; ++thread)
      expected["hsap " + std::to_string(rank) + "." + std::to_string(thread)] = 1;
  }
  // Threads bear their creator's name until they give themselves their own.
  for (auto& [name, count] : most) count = std::min(count, 1);
  CHECK(most == expected, most.size(), " names");
  CHECK(results.threads.computing == 6 && results.threads.communicating == 3);
  CHECK(threadNames().empty(), "threads outlived their run");
}

TEST("threads are bound to cores of their own, or the run says why not") {
  Ring ring(2, shape(1, 1, 16, false), {0, 60});
  const Program program = ring.fixture.finish();
  RunOptions options;
  options.threadsPerRank = 2;
  const Results placed = run(program, options);
  const std::set<std::int32_t> cores(placed.threads.cores.begin(), placed.threads.cores.end());
  CHECK(placed.threads.unpinned.empty() ? cores.size() == 4 && placed.threads.cores.size() == 4 : cores.empty(),
        placed.threads.unpinned);
  options.threadsPerRank = static_cast<std::int32_t>(std::max(1u, std::thread::hardware_concurrency()));
  const Results many = run(program, options);
  CHECK(many.threads.cores.empty() && !many.threads.unpinned.empty());
  options.pin = false, options.threadsPerRank = 1;
  const Results left = run(program, options);
  CHECK(left.threads.cores.empty() && left.threads.unpinned == "not asked for", left.threads.unpinned);
  CHECK(placed == many && placed == left);
}

TEST("a failure on one of several threads ends the run with its message") {
  Ring ring(2, shape(4, 2, 64, false), documents);
  const Program program = ring.fixture.finish();
  for (const std::int32_t rank : {0, 1}) {
    RunOptions options;
    options.threadsPerRank = 3;
    options.fault = Fault{rank, 3};
    std::string message = "none";
    try {
      run(program, options);
    } catch (const RunError& error) {
      message = error.what();
    }
    CHECK(message.starts_with("rank " + std::to_string(rank) + ", op 3"), message);
  }
}

TEST("a cancellation ends a run of several threads") {
  Ring large(2, shape(1, 1, 64, false), {0, 60000});
  const Program program = large.fixture.finish();
  for (const int delay : {0, 5, 30}) {
    Cancellation cancellation;
    RunOptions options;
    options.threadsPerRank = 3;
    options.isa = bestIsa();
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(delay));
      cancellation.request();
    });
    std::string code = "none";
    try {
      run(program, options, cancellation);
    } catch (const RunError& error) {
      code = error.code;
    }
    canceller.join();
    CHECK(code == "aborted", code, " delay ", delay);
  }
}

}  // namespace
