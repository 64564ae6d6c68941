// How blocks get from one rank to another. A transport knows blocks and groups, not strategies; it moves bytes and sums nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "hsap/block_view.h"

namespace hsap {

// A block of one tensor to be handed over: tokens x heads x width elements at `view`. Both partners say alike whether it travels
// as bf16; where that is not the type in memory, elements are converted on their way (to bf16: rounded to the nearest).
struct OutgoingBlock {
  BlockView view;
  std::int32_t tokens = 0, heads = 0, width = 0;
  bool bf16 = false;    // travels as bf16: what arrives is rounded to it
  bool stable = false;  // stays as it is and where it is until the run ends, so that a receiver may keep the pointer

  std::int64_t elements() const { return std::int64_t{tokens} * heads * width; }
  std::int64_t wireBytes() const { return elements() * (bf16 ? 2 : 4); }
};

// Where a block is wanted. With mayAlias, the transport may set `view` to the sender's memory instead of filling it, if that
// holds elements of the same type, and then sets `aliased`.
struct IncomingBlock {
  BlockView view;
  std::int32_t tokens = 0, heads = 0, width = 0;
  bool mayAlias = false;
  bool aliased = false;
  bool bf16 = false;  // travels as bf16

  std::int64_t elements() const { return std::int64_t{tokens} * heads * width; }
  std::int64_t wireBytes() const { return elements() * (bf16 ? 2 : 4); }
};

struct Send {
  std::int32_t peer = 0;
  std::vector<OutgoingBlock> blocks;
};

struct Receive {
  std::int32_t peer = 0;
  std::vector<IncomingBlock> blocks;
};

// Codes are those of `groupKinds` in packages/schedule; append only.
enum class GroupKind : std::uint8_t { p2p, allGather, allToAll, reduceScatter, broadcast };

// A group that every member posts, each with a transfer to or from every other, as the n-th of its kind and members: a
// transport may move it by a library's collective. `members` ascend and hold the own rank.
struct Collective {
  GroupKind kind = GroupKind::p2p;
  std::vector<std::int32_t> members;
};

// Sends and receives that start and end together. Between two ranks the n-th send meets the n-th receive.
struct Group {
  std::vector<Send> sends;
  std::vector<Receive> receives;
  const Collective* collective = nullptr;  // if the group is one

  void clear() {
    sends.clear();
    receives.clear();
    collective = nullptr;
  }
};

// Another rank failed, or the run was stopped from outside: this rank has nothing to report of its own.
class TransportAborted : public std::runtime_error {
 public:
  TransportAborted() : std::runtime_error("transport aborted") {}
};

// One rank's end of a transport, used by one thread at a time. Abort may come from any thread.
class Endpoint {
 public:
  virtual ~Endpoint() = default;

  // Makes room for a group that will be posted, so that posting needs no more memory. Blocks may lie elsewhere by then.
  virtual void prepare(const Group&) {}

  // Starts a group. The group, and the memory of its blocks, stay untouched by the caller until wait returns; after an
  // abort, until no rank uses the transport any more.
  virtual void post(Group& group) = 0;

  // Ends the group posted last: its receives are filled and its sends were taken. The calling thread sleeps meanwhile.
  // Throws TransportAborted after an abort, and std::runtime_error when partners disagree about a block's size or type.
  virtual void wait() = 0;

  // Whether others may still read or write the memory of a group that was posted, as after an abort: it must stay as long as
  // the process then.
  virtual bool underWay() const { return false; }
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual Endpoint& endpoint(std::int32_t rank) = 0;
  // Whether receives that may alias need no memory of their own, as all of them will.
  virtual bool aliases() const { return false; }
  // Returns once every process of the run has called it, which each does once, when its ranks are ready to start. Throws
  // TransportAborted after an abort.
  virtual void synchronise() {}
  // Wakes everybody who waits, now and later, with TransportAborted.
  virtual void abort() noexcept = 0;
};

struct LocalTransportOptions {
  bool alias = true;              // hand over pointers where both sides allow it; otherwise always copy
  double linkBytesPerSecond = 0;  // above 0: each (source, destination) link is no faster than that
};

// Ranks are threads of this process: one copy from the sender's memory into the receiver's, or none at all.
std::unique_ptr<Transport> makeLocalTransport(std::int32_t ranks, const LocalTransportOptions& options);

}  // namespace hsap
