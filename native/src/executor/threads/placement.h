// Which cores the computing threads of a run are bound to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hsap {

// Cores that this run alone, of all in this process, may bind threads to; given back at the end.
class Placement {
 public:
  // Leaves all threads to the system.
  explicit Placement(std::string reason) : reason_(std::move(reason)) {}
  // Takes a core for each of `threads` threads, one thread of a physical core before a second one, neighbours first. Takes none,
  // and says why, if this process may use fewer cores than that beside what other threads of the machine use now.
  static Placement take(std::int32_t threads);
  Placement(Placement&& other) noexcept;
  Placement& operator=(const Placement&) = delete;
  ~Placement();

  // Empty if threads are left to the system.
  const std::vector<std::int32_t>& cores() const { return cores_; }
  // Why there are none; empty if there are.
  const std::string& reason() const { return reason_; }

  // Binds the calling thread to the core of computing thread `thread`.
  void bind(std::int32_t thread) const;
  // Lets the calling thread, which inherits its creator's core, run on all cores of this process.
  void unbind() const;

 private:
  std::vector<std::int32_t> cores_, allowed_;
  std::string reason_;
};

// Moves the calling thread into the control group that `file` belongs to; throws a RunError if that is refused.
void joinGroup(const std::string& file);

// Shown by debuggers and in /proc.
void nameThread(const std::string& name);

}  // namespace hsap
