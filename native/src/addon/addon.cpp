// The Node addon: a thin face of the engine, for packages/engine alone.
#include <napi.h>

#include "background_job.h"
#include "bench_job.h"
#include "hsap/inputs.h"
#include "hsap/kernels.h"
#include "mpi_job.h"
#include "optimiser.h"
#include "reference_job.h"
#include "run_job.h"

namespace hsap::addon {

namespace {

// Turns errors of the engine into JavaScript errors with a code.
template <Napi::Value (*body)(const Napi::CallbackInfo&)>
Napi::Value coded(const Napi::CallbackInfo& info) {
  try {
    return body(info);
  } catch (const CodedError& error) {
    Napi::Error thrown = Napi::Error::New(info.Env(), error.what());
    thrown.Set("code", Napi::String::New(info.Env(), error.code));
    throw thrown;
  }
}

// info(): { isas, isa, compiler, buildType }
Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  Napi::Object result = Napi::Object::New(env);
  Napi::Array isas = Napi::Array::New(env);
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
    if (kernelsFor(isa) != nullptr) isas.Set(isas.Length(), isaName(isa));
  }
  result.Set("isas", isas);
  result.Set("isa", isaName(bestIsa()));
  result.Set("compiler", HSAP_COMPILER);
  result.Set("buildType", HSAP_BUILD_TYPE);
  return result;
}

// inputElement(tensor, token, head, column, seed, bf16): one element of an input, for tests.
Napi::Value inputElement(const Napi::CallbackInfo& call) {
  const auto at = [&](std::size_t i) { return call[i].As<Napi::Number>().Int32Value(); };
  const InputSource source{static_cast<std::uint64_t>(call[4].As<Napi::Number>().Int64Value()), std::nullopt,
                           call[5].As<Napi::Boolean>().Value()};
  return Napi::Number::New(call.Env(), source.element(static_cast<InputTensor>(at(0)), at(1), at(2), at(3)));
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("run", Napi::Function::New(env, coded<startRun>, "run"));
  exports.Set("reference", Napi::Function::New(env, coded<startReference>, "reference"));
  exports.Set("bench", Napi::Function::New(env, coded<startBench>, "bench"));
  exports.Set("adamW", Napi::Function::New(env, coded<adamWStep>, "adamW"));
  exports.Set("info", Napi::Function::New(env, info, "info"));
  exports.Set("mpiDescribe", Napi::Function::New(env, coded<describeMpi>, "mpiDescribe"));
  exports.Set("mpiJoin", Napi::Function::New(env, coded<joinMpi>, "mpiJoin"));
  exports.Set("mpiBroadcast", Napi::Function::New(env, coded<broadcastOverMpi>, "mpiBroadcast"));
  exports.Set("mpiGather", Napi::Function::New(env, coded<gatherOverMpi>, "mpiGather"));
  exports.Set("mpiFinish", Napi::Function::New(env, coded<finishMpi>, "mpiFinish"));
  exports.Set("mpiLeave", Napi::Function::New(env, coded<leaveMpi>, "mpiLeave"));
  exports.Set("mpiFail", Napi::Function::New(env, coded<failMpi>, "mpiFail"));
  exports.Set("inputElement", Napi::Function::New(env, inputElement, "inputElement"));
  return exports;
}

NODE_API_MODULE(hsap, initialise)

}  // namespace

}  // namespace hsap::addon
