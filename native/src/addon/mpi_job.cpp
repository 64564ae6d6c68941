#include "mpi_job.h"

#include <dlfcn.h>

#include <cstring>
#include <functional>
#include <vector>

#include "arguments.h"
#include "background_job.h"

namespace hsap::addon {

namespace {

MpiProcess* process = nullptr;

template <typename Function>
Function* symbolOf(const std::string& path, const char* name) {
  // Parts of MPI that are loaded later look for its symbols among the global ones.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  void* symbol = library == nullptr ? nullptr : dlsym(library, name);
  if (symbol == nullptr) {
    const char* reason = dlerror();
    throw CodedError("mpi-missing", reason != nullptr ? reason : "no " + std::string(name) + " in " + path);
  }
  return reinterpret_cast<Function*>(symbol);
}

Napi::Object objectOf(Napi::Env env, const MpiInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("library", info.library);
  object.Set("standard", info.standard);
  object.Set("threadLevel", info.threadLevel);
  object.Set("rank", Napi::Number::New(env, info.rank));
  object.Set("ranks", Napi::Number::New(env, info.ranks));
  object.Set("nodeRank", Napi::Number::New(env, info.nodeRank));
  object.Set("nodeRanks", Napi::Number::New(env, info.nodeRanks));
  Napi::Array hosts = Napi::Array::New(env, info.hosts.size());
  for (std::size_t i = 0; i < info.hosts.size(); ++i) hosts.Set(static_cast<std::uint32_t>(i), info.hosts[i]);
  object.Set("hosts", hosts);
  return object;
}

// A call that involves other ranks, off the JavaScript thread. When it is aborted, this process leaves its job.
class MpiJob final : public BackgroundJob {
 public:
  using Bytes = std::vector<std::byte>;
  using Work = std::function<std::vector<Bytes>(MpiProcess&)>;

  MpiJob(MpiProcess& joined, Work work) : joined_(joined), work_(std::move(work)) {}

  void cancel() override { joined_.leave(); }

 protected:
  void work() override {
    try {
      results_ = work_(joined_);
    } catch (const TransportAborted&) {
      throw CodedError("aborted", "this rank has left its job");
    } catch (const std::exception& error) {
      throw CodedError("mpi-failed", error.what());
    }
  }

  Napi::Value result(Napi::Env env) override {
    Napi::Array all = Napi::Array::New(env, results_.size());
    for (std::size_t i = 0; i < results_.size(); ++i) {
      const Napi::Uint8Array array = Napi::Uint8Array::New(env, results_[i].size());
      if (!results_[i].empty()) std::memcpy(const_cast<Napi::Uint8Array&>(array).Data(), results_[i].data(), results_[i].size());
      all.Set(static_cast<std::uint32_t>(i), array);
    }
    return all;
  }

 private:
  MpiProcess& joined_;
  Work work_;
  std::vector<Bytes> results_;
};

Napi::Value startMpiJob(const Napi::CallbackInfo& info, const char* name, MpiJob::Work work) {
  const Napi::Env env = info.Env();
  const auto job = std::make_shared<MpiJob>(joinedMpi(), std::move(work));
  const Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", job->start(env, name));
  handle.Set("abort", job->abortFunction(env));
  return handle;
}

MpiJob::Bytes bytesAt(const Napi::CallbackInfo& info, std::size_t argument) {
  if (!info[argument].IsTypedArray() || info[argument].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    refuseArgument("bytes", "a Uint8Array");
  const auto array = info[argument].As<Napi::Uint8Array>();
  const auto* first = reinterpret_cast<const std::byte*>(array.Data());
  return {first, first + array.ElementLength()};
}

std::int32_t rootAt(const Napi::CallbackInfo& info, std::size_t argument) {
  const std::int32_t root = info[argument].IsNumber() ? info[argument].As<Napi::Number>().Int32Value() : -1;
  if (root < 0 || root >= joinedMpi().info().ranks) refuseArgument("root", "a rank");
  return root;
}

}  // namespace

MpiProcess& joinedMpi() {
  if (process == nullptr) throw CodedError("mpi-missing", "this process has not joined an MPI job");
  return *process;
}

Napi::Value describeMpi(const Napi::CallbackInfo& info) {
  MpiInfo described;
  symbolOf<DescribeMpi>(info[0].ToString().Utf8Value(), mpiDescribeSymbol)(described);
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("library", described.library);
  object.Set("standard", described.standard);
  return object;
}

Napi::Value joinMpi(const Napi::CallbackInfo& info) {
  if (process != nullptr) throw CodedError("mpi-failed", "this process has joined its MPI job already");
  const Napi::Object given = info[1].As<Napi::Object>();
  const MpiOptions options{numberAt(given, "timeoutS"), numberAt(given, "pollUs"), boolAt(given, "collectives")};
  try {
    process = &symbolOf<JoinMpi>(info[0].ToString().Utf8Value(), mpiJoinSymbol)(options);
  } catch (const std::runtime_error& error) {
    if (dynamic_cast<const CodedError*>(&error) != nullptr) throw;
    throw CodedError("mpi-failed", error.what());
  }
  return objectOf(info.Env(), process->info());
}

Napi::Value broadcastOverMpi(const Napi::CallbackInfo& info) {
  const auto bytes = std::make_shared<MpiJob::Bytes>(bytesAt(info, 0));
  return startMpiJob(info, "hsap broadcast", [bytes, root = rootAt(info, 1)](MpiProcess& joined) {
    joined.broadcast(*bytes, root);
    return std::vector<MpiJob::Bytes>{std::move(*bytes)};
  });
}

Napi::Value gatherOverMpi(const Napi::CallbackInfo& info) {
  const auto bytes = std::make_shared<MpiJob::Bytes>(bytesAt(info, 0));
  return startMpiJob(info, "hsap gather",
                     [bytes, root = rootAt(info, 1)](MpiProcess& joined) { return joined.gather(*bytes, root); });
}

Napi::Value finishMpi(const Napi::CallbackInfo& info) {
  return startMpiJob(info, "hsap finish", [](MpiProcess& joined) {
    joined.finish();
    return std::vector<MpiJob::Bytes>{};
  });
}

Napi::Value leaveMpi(const Napi::CallbackInfo& info) {
  joinedMpi().leave();
  return info.Env().Undefined();
}

Napi::Value failMpi(const Napi::CallbackInfo& info) {
  joinedMpi().fail(info[0].ToString().Utf8Value());
  return info.Env().Undefined();  // never: some compilers do not see it
}

}  // namespace hsap::addon
