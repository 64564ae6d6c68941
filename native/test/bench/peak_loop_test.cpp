// The peak that every share is of must not read low: this looks at what the compiler made of the loops that measure it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"

namespace {

struct Instruction {
  unsigned long address;
  std::string name, operands;
};

// The instructions of the loop of the library's function whose name contains `function`.
std::vector<Instruction> loopOf(const std::string& function) {
  const std::string command = std::string(HSAP_OBJDUMP) + " -d -C --no-show-raw-insn " + HSAP_BENCH_LIBRARY;
  FILE* listing = popen(command.c_str(), "r");
  if (listing == nullptr) throw std::runtime_error("cannot run " + command);
  std::vector<Instruction> body;
  bool inside = false;
  char line[4096];
  while (std::fgets(line, sizeof line, listing) != nullptr) {
    unsigned long address = 0;
    char name[64] = "", operands[512] = "";
    if (std::strstr(line, ">:\n") != nullptr) {
      inside = std::strstr(line, function.c_str()) != nullptr;
      if (inside) body.clear();
      continue;
    }
    if (!inside || std::sscanf(line, " %lx: %63s %511s", &address, name, operands) < 2) continue;
    const unsigned long start = name[0] == 'j' ? std::strtoul(operands, nullptr, 16) : 0;
    if (start > 0 && start < address) {
      // A jump back ends the loop that began where it leads.
      const auto first = std::find_if(body.begin(), body.end(), [&](const Instruction& at) { return at.address >= start; });
      body.erase(body.begin(), first);
      inside = false;
      continue;
    }
    body.push_back({address, name, operands});
  }
  pclose(listing);
  return body;
}

struct Expected {
  const char* function;
  const char* multiplyAdd;  // the instruction whose last operand is an accumulator
  int chains;
  std::set<std::string> others;
};

const Expected expected[] = {
    {"runPeakLoop<hsap::Portable>", "addps", 8, {"mulps", "movaps", "add", "cmp", "sub"}},
    {"runPeakLoop<hsap::Avx2>", "vfmadd231ps", 12, {"add", "cmp", "sub"}},
    {"runPeakLoop<hsap::Avx512>", "vfmadd231ps", 24, {"add", "cmp", "sub"}},
    {"runPeakLoop<hsap::Avx512Bf16>", "vdpbf16ps", 24, {"add", "cmp", "sub"}},
};

}  // namespace

TEST("a round of a peak loop is its multiply-adds on registers, each on an accumulator of its own, and its count") {
  for (const Expected& loop : expected) {
    std::set<std::string> accumulators;
    int multiplyAdds = 0, others = 0;
    for (const Instruction& instruction : loopOf(loop.function)) {
      const std::string& operands = instruction.operands;
      CHECK(operands.find('(') == std::string::npos, loop.function, " touches memory: ", instruction.name, " ", operands);
      if (instruction.name == loop.multiplyAdd) {
        accumulators.insert(operands.substr(operands.rfind(',') + 1));
        ++multiplyAdds;
      } else {
        CHECK(loop.others.count(instruction.name) == 1, loop.function, " has ", instruction.name, " ", operands);
        others += instruction.name != "mulps" && instruction.name != "movaps";
      }
    }
    CHECK(multiplyAdds == loop.chains && accumulators.size() == static_cast<std::size_t>(loop.chains), loop.function, " has ",
          multiplyAdds, " multiply-adds on ", accumulators.size(), " accumulators (must be ", loop.chains, ")");
    CHECK(others <= 2, loop.function, " has ", others, " instructions besides");
  }
}
