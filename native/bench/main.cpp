// hsap_bench_kernels: the kernels against the peak of this processor, as a table or as JSON.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "hsap/bench.h"

namespace {

using namespace hsap;
using namespace hsap::bench;

constexpr const char* usage =
    "usage: hsap_bench_kernels [options]\n"
    "  --isa LIST         scalar, avx2, avx512, avx512bf16 (default: all this processor has)\n"
    "  --dtype LIST       fp32, bf16 (default fp32)\n"
    "  --head-dim LIST    head dimensions (default 64,128)\n"
    "  --mask LIST        full, causal (default causal)\n"
    "  --pass LIST        forward, backward (default both)\n"
    "  --tokens LIST      single documents of these lengths (default 4096 if no --mix is given)\n"
    "  --mix NAME=FILE    document lengths, a JSON array or numbers separated by white space; may be repeated\n"
    "  --heads N          query heads (default 1)\n"
    "  --kv-heads N       key and value heads (default 1)\n"
    "  --repeats N        interleaved rounds (default 7)\n"
    "  --no-error         do not compare with float64\n"
    "  --json             print JSON\n";

struct Arguments {
  Options options;
  bool json = false;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

std::int32_t parseCount(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 1 || value > 1 << 24) {
    throw std::invalid_argument("invalid " + option + ": " + text + " (must be a whole number from 1 to 16777216)");
  }
  return static_cast<std::int32_t>(value);
}

template <class T>
T choose(const std::string& option, const std::string& text, std::initializer_list<std::pair<const char*, T>> choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw std::invalid_argument("unknown " + option + ": " + text + " (must be one of " + names + ")");
}

LengthMix readMix(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos) throw std::invalid_argument("invalid --mix: " + argument + " (must be NAME=FILE)");
  LengthMix mix{argument.substr(0, equals), {}};
  std::ifstream file(argument.substr(equals + 1));
  if (!file) throw std::invalid_argument("unreadable --mix: " + argument.substr(equals + 1));
  std::string word;
  for (char c; file.get(c);) {
    if (std::strchr("[],\n\r\t ", c) == nullptr) {
      word += c;
    } else if (!word.empty()) {
      mix.lengths.push_back(parseCount("length in " + mix.name, word));
      word.clear();
    }
  }
  if (!word.empty()) mix.lengths.push_back(parseCount("length in " + mix.name, word));
  return mix;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  Options& options = arguments.options;
  const auto addTokens = [&](std::int32_t tokens) { options.mixes.push_back({"single", {tokens}}); };
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw std::invalid_argument("missing value: " + option);
      return argv[++i];
    };
    if (option == "--isa") {
      for (const std::string& name : split(value())) {
        options.isas.push_back(choose<Isa>(
            option, name,
            {{"scalar", Isa::scalar}, {"avx2", Isa::avx2}, {"avx512", Isa::avx512}, {"avx512bf16", Isa::avx512bf16}}));
      }
    } else if (option == "--dtype") {
      options.dtypes.clear();
      for (const std::string& name : split(value()))
        options.dtypes.push_back(choose<DType>(option, name, {{"fp32", DType::fp32}, {"bf16", DType::bf16}}));
    } else if (option == "--head-dim") {
      options.headDims.clear();
      for (const std::string& text : split(value())) options.headDims.push_back(parseCount(option, text));
    } else if (option == "--mask") {
      options.masks.clear();
      for (const std::string& name : split(value()))
        options.masks.push_back(choose<Mask>(option, name, {{"full", Mask::full}, {"causal", Mask::causal}}));
    } else if (option == "--pass") {
      options.passes.clear();
      for (const std::string& name : split(value())) {
        options.passes.push_back(choose<Pass>(option, name, {{"forward", Pass::forward}, {"backward", Pass::backward}}));
      }
    } else if (option == "--tokens") {
      for (const std::string& text : split(value())) addTokens(parseCount(option, text));
    } else if (option == "--mix") {
      options.mixes.push_back(readMix(value()));
    } else if (option == "--heads") {
      options.heads = parseCount(option, value());
    } else if (option == "--kv-heads") {
      options.kvHeads = parseCount(option, value());
    } else if (option == "--repeats") {
      options.repeats = parseCount(option, value());
    } else if (option == "--no-error") {
      options.measureError = false;
    } else if (option == "--json") {
      arguments.json = true;
    } else {
      throw std::invalid_argument("unknown option: " + option);
    }
  }
  if (options.mixes.empty()) addTokens(4096);
  return arguments;
}

const char* maskName(Mask mask) { return mask == Mask::full ? "full" : "causal"; }
const char* passName(Pass pass) { return pass == Pass::forward ? "forward" : "backward"; }

void printTable(const Result& result, const Options& options) {
  std::printf("# heads %d, kvHeads %d, medians of %d interleaved rounds, CPU time of one thread\n", options.heads,
              options.kvHeads, options.repeats);
  for (const Peak& peak : result.peaks)
    std::printf("# peak %-10s %s %8.1f GFLOP/s\n", isaName(peak.isa), dtypeName(peak.dtype), peak.gflops);
  std::printf("# copy %20.1f GB/s\n", result.copyBandwidthGBps);
  std::printf("%-10s %-5s %7s %-6s %-8s %8s %-12s %9s %7s %9s\n", "isa", "dtype", "headDim", "mask", "pass", "tokens", "mix",
              "rate", "share", "error");
  std::printf("%-10s %-5s %7s %-6s %-8s %8s %-12s %9s %7s %9s\n", "", "", "", "", "", "", "", "GFLOP/s", "of peak", "rel. L2");
  for (const Row& row : result.rows) {
    std::printf("%-10s %-5s %7d %-6s %-8s %8lld %-12s %9.1f %6.1f%% %9.2e\n", isaName(row.isa), dtypeName(row.dtype), row.headDim,
                maskName(row.mask), passName(row.pass), static_cast<long long>(row.tokens), row.mix.c_str(), row.gflops,
                row.shareOfPeak * 100, row.error);
  }
}

std::string jsonNumber(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return std::isfinite(value) ? text : "null";
}

std::string jsonString(const std::string& value) {
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) quoted += c;
  }
  return quoted + '"';
}

void printJson(const Result& result, const Options& options) {
  std::printf("{\"heads\":%d,\"kvHeads\":%d,\"repeats\":%d,\"copyBandwidthGBps\":%s,\"peaks\":[", options.heads, options.kvHeads,
              options.repeats, jsonNumber(result.copyBandwidthGBps).c_str());
  const char* separator = "";
  for (const Peak& peak : result.peaks) {
    std::printf("%s{\"isa\":\"%s\",\"dtype\":\"%s\",\"gflops\":%s}", separator, isaName(peak.isa), dtypeName(peak.dtype),
                jsonNumber(peak.gflops).c_str());
    separator = ",";
  }
  std::printf("],\"rows\":[");
  separator = "";
  for (const Row& row : result.rows) {
    std::printf(
        "%s\n{\"isa\":\"%s\",\"dtype\":\"%s\",\"headDim\":%d,\"mask\":\"%s\",\"pass\":\"%s\",\"tokens\":%lld,\"mix\":%s,"
        "\"gflops\":%s,"
        "\"shareOfPeak\":%s,\"error\":%s}",
        separator, isaName(row.isa), dtypeName(row.dtype), row.headDim, maskName(row.mask), passName(row.pass),
        static_cast<long long>(row.tokens), jsonString(row.mix).c_str(), jsonNumber(row.gflops).c_str(),
        jsonNumber(row.shareOfPeak).c_str(), jsonNumber(row.error).c_str());
    separator = ",";
  }
  std::printf("]}\n");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
      std::fputs(usage, stdout);
      return 0;
    }
    const Arguments arguments = parse(argc, argv);
    const Result result = benchKernels(arguments.options, [](std::size_t done, std::size_t total) {
      if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r%zu of %zu samples%s", done, total, done == total ? "\n" : "");
      return true;
    });
    arguments.json ? printJson(result, arguments.options) : printTable(result, arguments.options);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
