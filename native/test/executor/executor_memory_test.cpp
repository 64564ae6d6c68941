// What a run takes, as the system measures it, against what its program says.
#include <algorithm>
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
