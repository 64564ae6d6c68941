// The transport of one run over MPI: transfers of a group as a batch of non-blocking ones, collectives by MPI's own.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "hsap/transport.h"

namespace hsap::mpi {

using Members = std::vector<std::int32_t>;

struct MpiLinks {
  std::int32_t rank = 0, ranks = 1;
  MPI_Comm transfers = MPI_COMM_NULL;  // of all ranks
  std::map<Members, MPI_Comm> collectives;
  double pollUs = 2000;
};

// `left` ends every wait with TransportAborted, as abort does. Both outlive the transport. After an abort its requests are left
// pending: nothing but the end of the process may follow.
std::unique_ptr<Transport> makeMpiTransport(const MpiLinks& links, const std::atomic<bool>& left);

}  // namespace hsap::mpi
