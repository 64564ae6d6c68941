#include "threads/placement.h"

#include "hsap/executor.h"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

namespace hsap {

namespace {

#if defined(__linux__)
std::vector<std::int32_t> allowedCores() {
  cpu_set_t set;
  std::vector<std::int32_t> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (std::int32_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

void restrictTo(const std::vector<std::int32_t>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const std::int32_t core : cores) CPU_SET(core, &set);
  // A refusal leaves the thread where it may run already.
  sched_setaffinity(0, sizeof set, &set);
}
#else
std::vector<std::int32_t> allowedCores() { return {}; }
void restrictTo(const std::vector<std::int32_t>&) {}
#endif

std::int32_t topology(std::int32_t core, const char* what) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(core) + "/topology/" + what);
  std::int32_t value = 0;
  return file >> value ? value : 0;
}

// Physical cores by package, each once, then their second hardware threads.
std::vector<std::int32_t> inOrderOfUse(const std::vector<std::int32_t>& cores) {
  std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> seen;
  std::vector<std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int32_t>> keys;
  for (const std::int32_t core : cores) {
    const std::int32_t package = topology(core, "physical_package_id"), physical = topology(core, "core_id");
    keys.emplace_back(seen[{package, physical}]++, package, physical, core);
  }
  // Where the system does not say, all cores seem to be one.
  if (seen.size() == 1) return cores;
  std::sort(keys.begin(), keys.end());
  std::vector<std::int32_t> ordered;
  for (const auto& key : keys) ordered.push_back(std::get<3>(key));
  return ordered;
}

// Threads of the whole machine that run or could run now, but for the caller. 0 where the system does not say.
std::int32_t runnableThreads() {
  std::ifstream file("/proc/loadavg");
  double load;
  std::int32_t running = 1;
  if (!(file >> load >> load >> load >> running)) return 0;
  return std::max(0, running - 1);
}

// The fewest of some moments if only one thread is too many: whoever asked for this run is about to fall asleep.
std::int32_t busyThreads(std::int32_t enough) {
  constexpr int moments = 5;
  std::int32_t fewest = runnableThreads();
  for (int i = 1; i < moments && fewest == enough + 1; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
    fewest = std::min(fewest, runnableThreads());
  }
  return fewest;
}

struct Claims {
  std::mutex mutex;
  std::set<std::int32_t> taken;
};

Claims& claims() {
  static Claims all;
  return all;
}

}  // namespace

Placement Placement::take(std::int32_t threads) {
  Placement placement{std::string()};
  placement.allowed_ = allowedCores();
  const auto allowed = static_cast<std::int32_t>(placement.allowed_.size()), busy = busyThreads(allowed - threads);
  if (allowed == 0) {
    placement.reason_ = "this system does not say which cores may be used";
    return placement;
  }
  if (threads + busy > allowed) {
    placement.reason_ = std::to_string(threads) + " computing threads" +
                        (busy > 0 && threads <= allowed ? " beside " + std::to_string(busy) + " others" : "") + " on " +
                        std::to_string(allowed) + " cores";
    return placement;
  }
  const std::lock_guard lock(claims().mutex);
  for (const std::int32_t core : inOrderOfUse(placement.allowed_)) {
    if (static_cast<std::int32_t>(placement.cores_.size()) < threads && !claims().taken.contains(core))
      placement.cores_.push_back(core);
  }
  if (static_cast<std::int32_t>(placement.cores_.size()) < threads) {
    placement.cores_.clear();
    placement.reason_ = "other runs of this process hold cores";
  }
  claims().taken.insert(placement.cores_.begin(), placement.cores_.end());
  return placement;
}

Placement::Placement(Placement&& other) noexcept
    : cores_(std::exchange(other.cores_, {})), allowed_(std::move(other.allowed_)), reason_(std::move(other.reason_)) {}

Placement::~Placement() {
  const std::lock_guard lock(claims().mutex);
  for (const std::int32_t core : cores_) claims().taken.erase(core);
}

void Placement::bind(std::int32_t thread) const {
  if (!cores_.empty()) restrictTo({cores_[thread]});
}

void Placement::unbind() const {
  if (!cores_.empty()) restrictTo(allowed_);
}

void joinGroup(const std::string& file) {
  std::ofstream group(file);
  group << 0 << std::flush;
  if (!group)
    throw RunError("invalid-run", "cannot join the control group of " + file + " (a file that threads may be written to)");
}

void nameThread([[maybe_unused]] const std::string& name) {
#if defined(__linux__)
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
#endif
}

}  // namespace hsap
