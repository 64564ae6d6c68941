#include "mpi_transport.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "block_packing.h"
#include "mpi_calls.h"

namespace hsap::mpi {

namespace {

// A count of MPI is an int.
constexpr std::size_t largestMessage = std::size_t{1} << 30;

// Memory that grows and is kept from group to group.
class Staging {
 public:
  std::byte* reserve(std::size_t bytes) {
    if (bytes > size_) {
      memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
      size_ = bytes;
    }
    return memory_.get();
  }

  // Reserves, and writes to every page, so that the system need not find pages while a group is moved.
  void touch(std::size_t bytes) {
    const std::size_t before = size_;
    std::byte* memory = reserve(bytes);
    if (size_ > before) std::memset(memory, 0, size_);
  }

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::size_t size_ = 0;
};

class MpiEndpoint final : public Endpoint {
 public:
  MpiEndpoint(const MpiLinks& links, const std::atomic<bool>& left, const std::atomic<bool>& aborted)
      : links_(links), left_(left), aborted_(aborted) {}

  void prepare(const Group& group) override;
  void post(Group& group) override;
  void wait() override;
  bool underWay() const override { return underWay_; }

 private:
  // A message, or one gibibyte of it, that is on its way.
  struct Pending {
    Receive* receive = nullptr;   // null for a send
    std::byte* staged = nullptr;  // where the whole message lies if it must be unpacked
    std::size_t bytes = 0;        // of this message
  };

  const MPI_Comm* communicatorOf(const Group& group) const;
  void postTransfers(Group& group);
  void postReceive(Receive& receive, std::byte* staging, std::size_t bytes);
  void postSend(const Send& send, std::byte* staging, std::size_t bytes);
  void postCollective(Group& group, MPI_Comm communicator);
  void arrived(std::size_t index, const MPI_Status& status);
  void throwIfAborted() const {
    if (left_.load() || aborted_.load()) throw TransportAborted();
  }

  const MpiLinks& links_;
  const std::atomic<bool>&left_, &aborted_;
  Group* group_ = nullptr;
  Staging outgoing_, incoming_;
  std::vector<MPI_Request> requests_;
  std::vector<Pending> pending_;  // of each request
  std::map<const Receive*, int> unfinished_;
  // Of the collective in flight: bytes and places by member.
  std::vector<int> sendBytes_, sendAt_, receiveBytes_, receiveAt_;
  bool collective_ = false, underWay_ = false;
};

// Bytes of the messages that do not lie in memory as they travel; of all of them if the group is moved `whole`.
template <typename Transfers>
std::size_t stagedBytes(const Transfers& transfers, bool whole = false) {
  std::size_t total = 0;
  for (const auto& transfer : transfers) {
    const std::span blocks(transfer.blocks);
    if (whole || inPlace(blocks) == nullptr) total += wireBytes(blocks);
  }
  return total;
}

void MpiEndpoint::prepare(const Group& group) {
  const bool whole = communicatorOf(group) != nullptr;
  std::size_t incoming = stagedBytes(group.receives, whole);
  const std::size_t outgoing = stagedBytes(group.sends, whole);
  // What is gathered has a place among the rest.
  if (whole && group.collective->kind == GroupKind::allGather)
    incoming += outgoing / std::max<std::size_t>(1, group.sends.size());
  incoming_.touch(incoming);
  outgoing_.touch(outgoing);
}

void MpiEndpoint::post(Group& group) {
  throwIfAborted();
  group_ = &group;
  requests_.clear(), pending_.clear(), unfinished_.clear();
  collective_ = false, underWay_ = true;
  if (const MPI_Comm* communicator = communicatorOf(group)) return postCollective(group, *communicator);
  postTransfers(group);
}

// Null unless MPI moves the group by a collective of its own.
const MPI_Comm* MpiEndpoint::communicatorOf(const Group& group) const {
  if (group.collective == nullptr) return nullptr;
  const auto found = links_.collectives.find(group.collective->members);
  return found == links_.collectives.end() ? nullptr : &found->second;
}

void MpiEndpoint::postTransfers(Group& group) {
  std::byte* staging = incoming_.reserve(stagedBytes(group.receives));
  // Receives first, so that what arrives has its place at once.
  for (Receive& receive : group.receives) {
    const std::span<const IncomingBlock> blocks(receive.blocks);
    const std::size_t bytes = wireBytes(blocks);
    const bool staged = inPlace(blocks) == nullptr;
    postReceive(receive, staged ? staging : nullptr, bytes);
    if (staged) staging += bytes;
  }
  staging = outgoing_.reserve(stagedBytes(group.sends));
  for (const Send& send : group.sends) {
    const std::span<const OutgoingBlock> blocks(send.blocks);
    const std::size_t bytes = wireBytes(blocks);
    const bool staged = inPlace(blocks) == nullptr;
    postSend(send, staged ? staging : nullptr, bytes);
    if (staged) staging += bytes;
  }
}

void MpiEndpoint::postReceive(Receive& receive, std::byte* staging, std::size_t bytes) {
  std::byte* into = staging != nullptr ? staging : inPlace(std::span<const IncomingBlock>(receive.blocks));
  for (IncomingBlock& block : receive.blocks) block.aliased = false;
  for (std::size_t begin = 0; begin == 0 || begin < bytes; begin += largestMessage) {
    const std::size_t count = std::min(bytes - begin, largestMessage);
    MPI_Request request;
    guarded("MPI_Irecv", [&] {
      return MPI_Irecv(into + begin, static_cast<int>(count), MPI_BYTE, receive.peer, 0, links_.transfers, &request);
    });
    requests_.push_back(request);
    pending_.push_back({&receive, staging, count});
    ++unfinished_[&receive];
  }
}

void MpiEndpoint::postSend(const Send& send, std::byte* staging, std::size_t bytes) {
  const std::span<const OutgoingBlock> blocks(send.blocks);
  const std::byte* from = staging != nullptr ? staging : inPlace(blocks);
  if (staging != nullptr) pack(blocks, staging);
  for (std::size_t begin = 0; begin == 0 || begin < bytes; begin += largestMessage) {
    const std::size_t count = std::min(bytes - begin, largestMessage);
    MPI_Request request;
    guarded("MPI_Isend",
            [&] { return MPI_Isend(from + begin, static_cast<int>(count), MPI_BYTE, send.peer, 0, links_.transfers, &request); });
    requests_.push_back(request);
    pending_.push_back({nullptr, nullptr, count});
  }
}

// Lays everything in the order of members, whose numbers in the communicator are their places in the list.
void MpiEndpoint::postCollective(Group& group, MPI_Comm communicator) {
  const auto& [kind, members] = *group.collective;
  const auto placeOf = [&, &list = members](std::int32_t rank) {
    return static_cast<std::size_t>(std::lower_bound(list.begin(), list.end(), rank) - list.begin());
  };
  std::vector<std::size_t> sendBytes(members.size()), receiveBytes(members.size());
  for (const Send& send : group.sends) sendBytes[placeOf(send.peer)] += wireBytes(std::span<const OutgoingBlock>(send.blocks));
  for (const Receive& receive : group.receives)
    receiveBytes[placeOf(receive.peer)] += wireBytes(std::span<const IncomingBlock>(receive.blocks));
  const std::size_t own = placeOf(links_.rank);
  if (kind == GroupKind::allGather && !group.sends.empty())
    receiveBytes[own] = wireBytes(std::span<const OutgoingBlock>(group.sends.front().blocks));

  const auto layOut = [](const std::vector<std::size_t>& bytes, std::vector<int>& counts, std::vector<int>& places) {
    counts.clear(), places.clear();
    std::size_t at = 0;
    for (const std::size_t count : bytes) {
      counts.push_back(static_cast<int>(count));
      places.push_back(static_cast<int>(at));
      at += count;
    }
    return at;
  };
  const bool gathers = kind == GroupKind::allGather;
  std::vector<std::size_t> sent = gathers ? std::vector<std::size_t>{receiveBytes[own]} : sendBytes;
  const std::size_t sendTotal = layOut(sent, sendBytes_, sendAt_), receiveTotal = layOut(receiveBytes, receiveBytes_, receiveAt_);
  std::byte *out = outgoing_.reserve(sendTotal), *in = incoming_.reserve(receiveTotal);

  std::vector<std::size_t> filled(members.size());
  for (const Send& send : group.sends) {
    const std::span<const OutgoingBlock> blocks(send.blocks);
    if (gathers) {
      pack(blocks, out);
      break;
    }
    const std::size_t place = placeOf(send.peer);
    pack(blocks, out + sendAt_[place] + filled[place]);
    filled[place] += wireBytes(blocks);
  }
  for (Receive& receive : group.receives)
    for (IncomingBlock& block : receive.blocks) block.aliased = false;
  MPI_Request request;
  if (gathers) {
    guarded("MPI_Iallgatherv", [&] {
      return MPI_Iallgatherv(out, sendBytes_[0], MPI_BYTE, in, receiveBytes_.data(), receiveAt_.data(), MPI_BYTE, communicator,
                             &request);
    });
  } else {
    guarded("MPI_Ialltoallv", [&] {
      return MPI_Ialltoallv(out, sendBytes_.data(), sendAt_.data(), MPI_BYTE, in, receiveBytes_.data(), receiveAt_.data(),
                            MPI_BYTE, communicator, &request);
    });
  }
  requests_.push_back(request);
  pending_.push_back({});
  collective_ = true;
}

void MpiEndpoint::wait() {
  Pace pace(links_.pollUs);
  std::vector<int> indices(requests_.size());
  std::vector<MPI_Status> statuses(requests_.size());
  for (std::size_t left = requests_.size(); left > 0;) {
    throwIfAborted();
    int count = 0;
    for (int call = 0; call < callsOfALook && count == 0; ++call) {
      guarded("MPI_Testsome", [&] {
        return MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, indices.data(), statuses.data());
      });
    }
    if (count == MPI_UNDEFINED) break;
    for (int i = 0; i < count; ++i) arrived(indices[i], statuses[i]);
    left -= count;
    if (count > 0) {
      pace.restart();
    } else {
      pace.pause();
    }
  }
  underWay_ = false;
  if (!collective_) return;
  std::vector<int> at = receiveAt_;
  for (Receive& receive : group_->receives) {
    const auto& members = group_->collective->members;
    int& place = at[std::lower_bound(members.begin(), members.end(), receive.peer) - members.begin()];
    unpack(incoming_.reserve(0) + place, receive.blocks);
    place += static_cast<int>(wireBytes(std::span<const IncomingBlock>(receive.blocks)));
  }
}

void MpiEndpoint::arrived(std::size_t index, const MPI_Status& status) {
  const Pending& pending = pending_[index];
  if (pending.receive == nullptr) return;
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  if (static_cast<std::size_t>(bytes) != pending.bytes)
    throw std::runtime_error("rank " + std::to_string(pending.receive->peer) + " sends " + std::to_string(bytes) +
                             " bytes, rank " + std::to_string(links_.rank) + " takes " + std::to_string(pending.bytes));
  if (--unfinished_[pending.receive] == 0 && pending.staged != nullptr) unpack(pending.staged, pending.receive->blocks);
}

// Endpoints with transfers under way when their run ended.
std::vector<std::unique_ptr<MpiEndpoint>>& keptForEver() {
  static auto* endpoints = new std::vector<std::unique_ptr<MpiEndpoint>>;
  return *endpoints;
}

class MpiTransport final : public Transport {
 public:
  MpiTransport(const MpiLinks& links, const std::atomic<bool>& left)
      : links_(links), left_(left), endpoint_(std::make_unique<MpiEndpoint>(links_, left, aborted_)) {}

  // MPI goes on with what was posted before an abort, whenever it is called: as the heartbeat does until the process ends.
  ~MpiTransport() override {
    if (endpoint_->underWay()) keptForEver().push_back(std::move(endpoint_));
  }

  Endpoint& endpoint(std::int32_t rank) override {
    if (rank != links_.rank)
      throw std::logic_error("rank " + std::to_string(rank) + " is not in this process, which is rank " +
                             std::to_string(links_.rank));
    return *endpoint_;
  }

  void synchronise() override {
    MPI_Request request;
    guarded("MPI_Ibarrier", [&] { return MPI_Ibarrier(links_.transfers, &request); });
    Pace pace(links_.pollUs);
    for (int done = 0;;) {
      if (left_.load() || aborted_.load()) throw TransportAborted();
      for (int call = 0; call < callsOfALook && done == 0; ++call)
        guarded("MPI_Test", [&] { return MPI_Test(&request, &done, MPI_STATUS_IGNORE); });
      if (done != 0) return;
      pace.pause();
    }
  }

  void abort() noexcept override { aborted_.store(true); }

 private:
  const MpiLinks links_;
  const std::atomic<bool>& left_;
  std::atomic<bool> aborted_ = false;
  std::unique_ptr<MpiEndpoint> endpoint_;
};

}  // namespace

std::unique_ptr<Transport> makeMpiTransport(const MpiLinks& links, const std::atomic<bool>& left) {
  return std::make_unique<MpiTransport>(links, left);
}

}  // namespace hsap::mpi
