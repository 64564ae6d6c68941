// The local transport alone: threads that exchange numbered blocks.
#include "hsap/transport.h"

#include <atomic>
#include <thread>

#include "check.h"
#include "hsap/inputs.h"

using namespace hsap;

namespace {

// Runs body(rank) on a thread for each rank.
template <typename Body>
void onRanks(std::int32_t ranks, Body body) {
  std::vector<std::thread> threads;
  for (std::int32_t rank = 0; rank < ranks; ++rank) threads.emplace_back([&body, rank] { body(rank); });
  for (std::thread& thread : threads) thread.join();
}

View dense(std::vector<float>& values, std::int32_t tokens, std::int32_t width) {
  return {values.data(), std::ptrdiff_t{tokens} * width, width};
}

TEST("every block of a thousand all-to-all groups arrives, in order, between 6 ranks") {
  const std::int32_t ranks = 6, rounds = 1000;
  const auto transport = makeLocalTransport(ranks, {});
  std::atomic<int> wrong = 0;
  onRanks(ranks, [&](std::int32_t rank) {
    std::vector<std::vector<float>> outgoing(ranks), incoming(ranks);
    Group group;
    for (std::int32_t round = 0; round < rounds; ++round) {
      group.clear();
      for (std::int32_t step = 1; step < ranks; ++step) {
        // Each rank names its peers in another order.
        const std::int32_t to = (rank + step * (1 + round % 2 * 4)) % ranks, from = (rank + step) % ranks;
        outgoing[to].assign(4, static_cast<float>(round * 100 + rank * 10 + to));
        incoming[from].assign(4, -1.0f);
        group.sends.push_back({to, {{dense(outgoing[to], 2, 2), 2, 1, 2, false, false}}});
        group.receives.push_back({from, {{dense(incoming[from], 2, 2), 2, 1, 2, false, false}}});
      }
      transport->endpoint(rank).post(group);
      transport->endpoint(rank).wait();
      for (std::int32_t from = 0; from < ranks; ++from) {
        for (const float value : incoming[from])
          wrong += from != rank && value != static_cast<float>(round * 100 + from * 10 + rank);
      }
    }
  });
  CHECK(wrong == 0, wrong.load(), " elements");
}

TEST("several blocks to one peer, in one group and over several, keep their order") {
  const auto transport = makeLocalTransport(2, {});
  std::vector<float> values{1, 2, 3, 4, 5, 6}, got(6);
  onRanks(2, [&](std::int32_t rank) {
    for (int part = 0; part < 2; ++part) {
      Group group;
      for (int i = 0; i < 3; ++i) {
        float* place = (rank == 0 ? values : got).data() + part * 3 + i;
        if (rank == 0) group.sends.push_back({1, {{View{place, 1, 1}, 1, 1, 1, false, false}}});
        if (rank == 1) group.receives.push_back({0, {{View{place, 1, 1}, 1, 1, 1, false, false}}});
      }
      transport->endpoint(rank).post(group);
      transport->endpoint(rank).wait();
    }
  });
  CHECK(got == values);
}

// Sends a 3 x 2 x 4 block from a wide array into a narrow one; returns what the receiver ends up with.
struct Exchange {
  explicit Exchange(bool alias, bool stable, bool mayAlias, bool bf16 = false) {
    for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = 1.0f + static_cast<float>(i) / 1024;
    const auto transport = makeLocalTransport(2, {alias, 0});
    onRanks(2, [&](std::int32_t rank) {
      Group group;
      if (rank == 0) group.sends.push_back({1, {{source, 3, 2, 4, bf16, stable}}});
      if (rank == 1) group.receives.push_back({0, {{View{narrow.data(), 12, 4}, 3, 2, 4, mayAlias, false, bf16}}});
      transport->endpoint(rank).post(group);
      transport->endpoint(rank).wait();
      if (rank == 1) received = group.receives[0].blocks[0];
    });
  }
  float at(int token, int head, int column) const {
    return received.view.as<float>().data[head * received.view.headStride + token * received.view.tokenStride + column];
  }
  float sent(int token, int head, int column) const {
    return source.data[head * source.headStride + token * source.tokenStride + column];
  }

  std::vector<float> wide = std::vector<float>(400), narrow = std::vector<float>(24);
  View source{wide.data() + 13, 100, 10};
  IncomingBlock received;
};

TEST("strided blocks arrive whole, whether they are copied or handed over") {
  for (const bool alias : {false, true}) {
    const Exchange exchange(alias, true, true);
    for (int token = 0; token < 3; ++token) {
      for (int head = 0; head < 2; ++head) {
        for (int column = 0; column < 4; ++column)
          CHECK(exchange.at(token, head, column) == exchange.sent(token, head, column), "alias ", alias);
      }
    }
  }
}

TEST("a pointer is handed over only if both sides and the transport allow it") {
  for (int bits = 0; bits < 8; ++bits) {
    const bool transport = bits & 1, stable = bits & 2, mayAlias = bits & 4;
    const Exchange exchange(transport, stable, mayAlias);
    const bool expected = bits == 7;
    CHECK(exchange.received.aliased == expected, "bits ", bits);
    CHECK((exchange.received.view.as<float>().data == exchange.source.data) == expected, "bits ", bits);
  }
}

TEST("what travels as bf16 arrives rounded to it") {
  const Exchange exchange(true, false, true, true);
  int changed = 0;
  for (int token = 0; token < 3; ++token) {
    for (int column = 0; column < 4; ++column) {
      CHECK(exchange.at(token, 1, column) == roundToBf16(exchange.sent(token, 1, column)));
      changed += exchange.at(token, 1, column) != exchange.sent(token, 1, column);
    }
  }
  CHECK(changed > 0);
}

TEST("blocks stored as bf16 travel as they are, and are widened or handed over") {
  std::vector<Bf16> stored(12), copied(12);
  for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = toBf16(1.0f + static_cast<float>(i) / 64);
  std::vector<float> widened(12);
  const auto view = [](std::vector<Bf16>& values) { return Bf16View{values.data(), 0, 4}; };
  for (const bool alias : {false, true}) {
    const auto transport = makeLocalTransport(2, {alias, 0});
    IncomingBlock received;
    onRanks(2, [&](std::int32_t rank) {
      Group group;
      if (rank == 0) {
        group.sends.push_back({1, {{view(stored), 3, 1, 4, true, true}, {view(stored), 3, 1, 4, true, true}}});
      } else {
        group.receives.push_back(
            {0, {{view(copied), 3, 1, 4, true, false, true}, {View{widened.data(), 0, 4}, 3, 1, 4, true, false, true}}});
      }
      transport->endpoint(rank).post(group);
      transport->endpoint(rank).wait();
      if (rank == 1) received = group.receives[0].blocks[0];
      // A pointer to other elements would not do.
      if (rank == 1) CHECK(!group.receives[0].blocks[1].aliased);
    });
    CHECK(received.aliased == alias);
    CHECK(received.wireBytes() == 24);
    for (std::size_t i = 0; i < stored.size(); ++i) {
      CHECK(received.view.as<Bf16>().data[i].bits == stored[i].bits, i);
      CHECK(widened[i] == toFloat(stored[i]), i);
    }
  }
}

TEST("a group without receives ends only when its sends were taken") {
  const auto transport = makeLocalTransport(2, {});
  std::vector<float> value{7}, got{0};
  std::atomic<bool> taken = false, early = false;
  onRanks(2, [&](std::int32_t rank) {
    Group group;
    if (rank == 0) {
      group.sends.push_back({1, {{View{value.data(), 1, 1}, 1, 1, 1, false, false}}});
      transport->endpoint(0).post(group);
      transport->endpoint(0).wait();
      // The block was copied, so that changing it now harms nobody.
      early = !taken;
      value[0] = 8;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    group.receives.push_back({0, {{View{got.data(), 1, 1}, 1, 1, 1, false, false}}});
    taken = true;
    transport->endpoint(1).post(group);
    transport->endpoint(1).wait();
  });
  CHECK(!early);
  CHECK(got[0] == 7);
}

TEST("blocks of different sizes on the two sides are an error, not a copy") {
  const auto transport = makeLocalTransport(2, {});
  std::vector<float> a(4), b(4);
  std::string message;
  onRanks(2, [&](std::int32_t rank) {
    Group group;
    if (rank == 0) group.sends.push_back({1, {{View{a.data(), 2, 2}, 1, 2, 2, false, false}}});
    if (rank == 1) group.receives.push_back({0, {{View{b.data(), 2, 2}, 2, 1, 2, false, false}}});
    try {
      transport->endpoint(rank).post(group);
      transport->endpoint(rank).wait();
    } catch (const TransportAborted&) {
    } catch (const std::runtime_error& error) {
      message = error.what();
      transport->abort();
    }
  });
  CHECK(message == "block 0 from rank 0 to rank 1 differs in size on its two sides", message);
}

TEST("an abort wakes everybody, whatever they wait for, and whoever comes later") {
  for (int round = 0; round < 50; ++round) {
    const auto transport = makeLocalTransport(4, {true, round % 2 == 0 ? 0.0 : 1.0});
    std::vector<float> values(4);
    std::atomic<int> aborted = 0;
    std::vector<Group> groups(4);
    onRanks(4, [&](std::int32_t rank) {
      if (rank == 3) return transport->abort();
      // Nobody receives from rank 0, rank 1 waits for a send that never comes, rank 2 for a link of one byte a second.
      Group& group = groups[rank];
      if (rank == 0) group.sends.push_back({3, {{View{&values[0], 1, 1}, 1, 1, 1, false, false}}});
      if (rank == 1) group.sends.push_back({2, {{View{&values[1], 1, 1}, 1, 1, 1, false, false}}});
      if (rank == 1) group.receives.push_back({3, {{View{&values[2], 1, 1}, 1, 1, 1, false, false}}});
      if (rank == 2) group.receives.push_back({1, {{View{&values[3], 1, 1}, 1, 1, 1, false, false}}});
      try {
        transport->endpoint(rank).post(group);
        transport->endpoint(rank).wait();
      } catch (const TransportAborted&) {
        ++aborted;
      }
    });
    // Without a slow link rank 2 may have ended before.
    CHECK(aborted >= 2, "round ", round, ": ", aborted.load());
  }
}

TEST("a slow link carries its transfers one after another, each in full") {
  const std::int32_t count = 5;
  const auto transport = makeLocalTransport(2, {true, 4.0 * 1000 * 100});  // 1000 floats in 10 ms
  std::vector<float> values(1000, 3.0f), got(1000);
  onRanks(2, [&](std::int32_t rank) {
    for (std::int32_t i = 0; i < count; ++i) {
      Group group;
      if (rank == 0) group.sends.push_back({1, {{dense(values, 10, 100), 10, 1, 100, false, false}}});
      if (rank == 1) group.receives.push_back({0, {{dense(got, 10, 100), 10, 1, 100, false, false}}});
      transport->endpoint(rank).post(group);
      transport->endpoint(rank).wait();
    }
  });
  CHECK(got == values);
}

}  // namespace
