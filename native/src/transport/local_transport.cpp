// Ranks are threads: a send lies in the receiver's mailbox until the receiver, whose turn it is, takes it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "hsap/transport.h"
#include "strided_copy.h"

namespace hsap {

namespace {

using Clock = std::chrono::steady_clock;

class LocalTransport;

// A rank's mailbox is also where it sleeps: for sends that others post to it, and for others to take its own.
class LocalEndpoint final : public Endpoint {
 public:
  LocalEndpoint(LocalTransport& transport, std::int32_t rank) : transport_(transport), rank_(rank) {}

  void post(Group& group) override;
  void wait() override;

  void wake() {
    // Taking the lock makes sure that a sleeper either sees the abort or is already asleep when it is notified.
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

 private:
  struct Transfer {
    const Send* send;
    Receive* receive;
    Clock::time_point arrival;
  };

  const Send* nextFrom(const Receive& receive);
  void take(const Send& send, Receive& receive);
  void sleep(std::unique_lock<std::mutex>& lock, const std::vector<Transfer>& travelling);
  void deliver(std::int32_t source, const Send& send);
  void sendTaken();
  Clock::time_point arrivalOf(std::int32_t source, const Send& send);

  LocalTransport& transport_;
  const std::int32_t rank_;
  Group* group_ = nullptr;
  std::unordered_map<std::int32_t, Clock::time_point> linkFreeAt_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::unordered_map<std::int32_t, std::deque<const Send*>> posted_;  // by source, in order
  std::size_t sendsLeft_ = 0;                                         // of this rank's group, not yet taken
};

class LocalTransport final : public Transport {
 public:
  LocalTransport(std::int32_t ranks, const LocalTransportOptions& options) : options_(options) {
    for (std::int32_t rank = 0; rank < ranks; ++rank) endpoints_.emplace_back(*this, rank);
  }

  Endpoint& endpoint(std::int32_t rank) override { return endpoints_.at(rank); }
  bool aliases() const override { return options_.alias; }
  LocalEndpoint& local(std::int32_t rank) { return endpoints_.at(rank); }

  void abort() noexcept override {
    aborted_.store(true);
    for (LocalEndpoint& endpoint : endpoints_) endpoint.wake();
  }

  void throwIfAborted() const {
    if (aborted_.load()) throw TransportAborted();
  }
  bool aborted() const { return aborted_.load(); }
  const LocalTransportOptions& options() const { return options_; }

 private:
  const LocalTransportOptions options_;
  std::deque<LocalEndpoint> endpoints_;
  std::atomic<bool> aborted_ = false;
};

void LocalEndpoint::post(Group& group) {
  transport_.throwIfAborted();
  group_ = &group;
  {
    const std::lock_guard lock(mutex_);
    sendsLeft_ = group.sends.size();
  }
  for (const Send& send : group.sends) transport_.local(send.peer).deliver(rank_, send);
}

void LocalEndpoint::wait() {
  // The receiver copies, so that no staging is needed; whichever partner comes first is served first.
  std::vector<Receive*> pending;
  for (Receive& receive : group_->receives) pending.push_back(&receive);
  std::vector<Transfer> travelling, arrived;
  std::unique_lock lock(mutex_);
  while (!pending.empty() || !travelling.empty()) {
    transport_.throwIfAborted();
    std::erase_if(pending, [&](Receive* receive) {
      const Send* send = nextFrom(*receive);
      if (send != nullptr) travelling.push_back({send, receive, arrivalOf(receive->peer, *send)});
      return send != nullptr;
    });
    const Clock::time_point now = Clock::now();
    arrived.clear();
    std::erase_if(travelling, [&](const Transfer& transfer) {
      if (transfer.arrival <= now) arrived.push_back(transfer);
      return transfer.arrival <= now;
    });
    if (arrived.empty()) {
      sleep(lock, travelling);
      continue;
    }
    lock.unlock();
    for (const Transfer& transfer : arrived) {
      take(*transfer.send, *transfer.receive);
      transport_.local(transfer.receive->peer).sendTaken();
    }
    lock.lock();
  }
  changed_.wait(lock, [&] { return sendsLeft_ == 0 || transport_.aborted(); });
  transport_.throwIfAborted();
}

// Until something changes, or until the first of the transfers is here.
void LocalEndpoint::sleep(std::unique_lock<std::mutex>& lock, const std::vector<Transfer>& travelling) {
  if (travelling.empty()) {
    changed_.wait(lock);
    return;
  }
  Clock::time_point first = Clock::time_point::max();
  for (const Transfer& transfer : travelling) first = std::min(first, transfer.arrival);
  changed_.wait_until(lock, first);
}

// The oldest untaken send of the receive's peer. Called with the mutex held.
const Send* LocalEndpoint::nextFrom(const Receive& receive) {
  const auto queue = posted_.find(receive.peer);
  if (queue == posted_.end() || queue->second.empty()) return nullptr;
  const Send* send = queue->second.front();
  queue->second.pop_front();
  return send;
}

void LocalEndpoint::take(const Send& send, Receive& receive) {
  if (send.blocks.size() != receive.blocks.size())
    throw std::runtime_error("rank " + std::to_string(receive.peer) + " sends " + std::to_string(send.blocks.size()) +
                             " blocks, rank " + std::to_string(rank_) + " takes " + std::to_string(receive.blocks.size()));
  for (std::size_t i = 0; i < send.blocks.size(); ++i) {
    const OutgoingBlock& from = send.blocks[i];
    IncomingBlock& to = receive.blocks[i];
    if (from.tokens != to.tokens || from.heads != to.heads || from.width != to.width)
      throw std::runtime_error("block " + std::to_string(i) + " from rank " + std::to_string(receive.peer) + " to rank " +
                               std::to_string(rank_) + " differs in size on its two sides");
    if (from.bf16 != to.bf16)
      throw std::runtime_error("block " + std::to_string(i) + " from rank " + std::to_string(receive.peer) + " to rank " +
                               std::to_string(rank_) + " differs in type on its two sides");
    to.aliased = transport_.options().alias && from.stable && to.mayAlias && from.view.type == to.view.type;
    if (to.aliased) {
      to.view = from.view;
    } else {
      copyBlock(to.view, from.view, from.tokens, from.heads, from.width, from.bf16);
    }
  }
}

// When the last byte is here if the link carries this transfer after those before it.
Clock::time_point LocalEndpoint::arrivalOf(std::int32_t source, const Send& send) {
  const double rate = transport_.options().linkBytesPerSecond;
  if (!(rate > 0)) return Clock::time_point::min();
  double bytes = 0;
  for (const OutgoingBlock& block : send.blocks) bytes += static_cast<double>(block.wireBytes());
  Clock::time_point& freeAt = linkFreeAt_[source];
  // Days, where a clock counts some 292 years at the most.
  constexpr double longestS = 1e6;
  const std::chrono::duration<double> duration(std::min(bytes / rate, longestS));
  freeAt = std::max(freeAt, Clock::now()) + std::chrono::duration_cast<Clock::duration>(duration);
  return freeAt;
}

void LocalEndpoint::deliver(std::int32_t source, const Send& send) {
  const std::lock_guard lock(mutex_);
  posted_[source].push_back(&send);
  changed_.notify_all();
}

void LocalEndpoint::sendTaken() {
  const std::lock_guard lock(mutex_);
  if (--sendsLeft_ == 0) changed_.notify_all();
}

}  // namespace

std::unique_ptr<Transport> makeLocalTransport(std::int32_t ranks, const LocalTransportOptions& options) {
  return std::make_unique<LocalTransport>(ranks, options);
}

}  // namespace hsap
