// This process's place in an MPI job, as JavaScript sees it.
#pragma once

#include <napi.h>

#include "hsap/mpi.h"

namespace hsap::addon {

// mpiDescribe(path): { library, standard } of the MPI that the library at `path` was built for.
Napi::Value describeMpi(const Napi::CallbackInfo& info);
// mpiJoin(path, { timeoutS, pollUs, collectives }): joins the job that this process was started in, and returns its MpiInfo.
// Once.
Napi::Value joinMpi(const Napi::CallbackInfo& info);
// mpiBroadcast(bytes, root) and mpiGather(bytes, root): jobs, as MpiProcess describes; mpiFinish(): a job, too.
Napi::Value broadcastOverMpi(const Napi::CallbackInfo& info);
Napi::Value gatherOverMpi(const Napi::CallbackInfo& info);
Napi::Value finishMpi(const Napi::CallbackInfo& info);
// mpiLeave() and mpiFail(line): at once.
Napi::Value leaveMpi(const Napi::CallbackInfo& info);
Napi::Value failMpi(const Napi::CallbackInfo& info);

// Throws CodedError if this process has not joined a job.
MpiProcess& joinedMpi();

}  // namespace hsap::addon
