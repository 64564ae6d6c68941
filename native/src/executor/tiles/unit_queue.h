// Deals the units of a batch of tiles to threads, so that each accumulator is added to in one order, however many threads there
// are.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <queue>
#include <vector>

#include "tiles/tile_units.h"

namespace hsap {

// Which units wait for which: a unit waits for the last unit before it that wrote any of the rows it writes.
struct UnitDependencies {
  std::vector<std::int32_t> waits;                       // of each unit, how many it waits for
  std::vector<std::int32_t> successorBegin, successors;  // of unit i: successors[successorBegin[i]] and on
  std::vector<double> pathWork;                          // work of the longest chain of units from each on
};

UnitDependencies dependenciesOf(const Program& program, const TileUnits& plan);

// Units that wait for nobody, those with the longest chain behind them first.
class UnitQueue {
 public:
  explicit UnitQueue(const UnitDependencies& dependencies);

  // The next unit, waiting until there is one; none once all are finished or the queue was cancelled.
  std::optional<std::int32_t> take();
  void finish(std::int32_t unit);
  void cancel();

 private:
  struct Ready {
    double pathWork;
    std::int32_t unit;
    bool operator<(const Ready& other) const {
      return pathWork != other.pathWork ? pathWork < other.pathWork : unit > other.unit;
    }
  };

  const UnitDependencies& dependencies_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::int32_t> waits_;
  std::priority_queue<Ready> ready_;
  std::size_t unfinished_;
  bool cancelled_ = false;
};

}  // namespace hsap
