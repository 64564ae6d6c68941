#include "run_job.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "arguments.h"
#include "background_job.h"
#include "hsap/collectives.h"
#include "hsap/executor.h"
#include "hsap/output_digest.h"
#include "mpi_job.h"

namespace hsap::addon {

namespace {

constexpr double largestArray = 4294967296.0;  // elements of one typed array

class RunJob final : public BackgroundJob {
 public:
  RunJob(const Napi::Object& tables, const Napi::Object& problem, const Napi::Object& options)
      : program_(programFrom(tables, problem)) {
    for (const Napi::Object& object : {tables, problem, options}) kept_.push_back(keep(object));
    options_.inputs = inputsFrom(options, program_.problem.bf16);
    options_.isa = isaAt(options);
    options_.alias = boolAt(options, "alias");
    options_.linkBytesPerSecond = numberAt(options, "linkBytesPerSecond");
    options_.threadsPerRank = intAt(options, "threadsPerRank");
    options_.maxThreads = intAt(options, "maxThreads");
    options_.pin = boolAt(options, "pin");
    options_.computeGroup = textAt(options, "computeGroup");
    if (options.Has("overMpi") && boolAt(options, "overMpi")) {
      mpi_ = &joinedMpi();
      const MpiInfo& joined = mpi_->info();
      if (joined.ranks != program_.ranks())
        refuseArgument("overMpi", "a program of " + std::to_string(joined.ranks) + " ranks, as many as the job has");
      options_.rank = joined.rank;
    }
    if (options.Has("failAt")) {
      const Napi::Object fault = objectAt(options, "failAt");
      options_.fault = Fault{intAt(fault, "rank"), intAt(fault, "op")};
    }
    const double rows = double(program_.problem.heads) * double(program_.problem.tokens());
    if (options.Has("tensors")) {
      takeTensors(objectAt(options, "tensors"));
    } else if (program_.problem.backward) {
      options_.savedO = savedAt(options, "savedO", rows * program_.problem.headDim);
      options_.savedLse = savedAt(options, "savedLse", rows);
    }
  }

  // The results lie in JavaScript's memory from the start, so that nothing is copied in the end.
  void makeResults(Napi::Env env) {
    results_ = keep(Napi::Object::New(env));
    const AttentionProblem& problem = program_.problem;
    trace_.beginUs = makeTrace(env, "beginUs");
    trace_.endUs = makeTrace(env, "endUs");
    trace_.busyUs = makeTrace(env, "busyUs");
    if (!options_.tensors.empty()) return;
    const double rows = double(problem.heads) * double(problem.tokens()),
                 kvRows = double(problem.kvHeads) * double(problem.tokens());
    if (problem.backward) {
      outputs_.dq = makeOutput(env, "dq", rows * problem.headDim);
      outputs_.dk = makeOutput(env, "dk", kvRows * problem.headDim);
      outputs_.dv = makeOutput(env, "dv", kvRows * problem.headDim);
    } else {
      outputs_.o = makeOutput(env, "o", rows * problem.headDim);
      outputs_.lse = makeOutput(env, "lse", rows);
    }
  }

  void cancel() override { cancellation_.request(); }

 protected:
  void work() override {
    try {
      checkProgram(program_);
      if (mpi_ == nullptr) {
        runProgram(program_, options_, outputs_, trace_, cancellation_);
        for (std::int32_t rank = 0; rank < program_.ranks(); ++rank) digest_ += digestOfRank(program_, rank, outputs_);
      } else {
        runOverMpi();
      }
    } catch (const ProgramError& error) {
      throw CodedError("corrupt-program", error.what());
    } catch (const RunError& error) {
      throw CodedError(error.code, error.what());
    }
  }

  Napi::Value result(Napi::Env env) override {
    results_.Set("durationUs", Napi::Number::New(env, trace_.durationUs));
    results_.Set("residentBytes", residentBytes(env));
    results_.Set("threads", threads(env));
    results_.Set("digestLow", Napi::BigInt::New(env, digest_.low));
    results_.Set("digestHigh", Napi::BigInt::New(env, digest_.high));
    return results_.Value();
  }

 private:
  Napi::Value residentBytes(Napi::Env env) const {
    Napi::Float64Array bytes = Napi::Float64Array::New(env, trace_.residentBytes.size());
    std::copy(trace_.residentBytes.begin(), trace_.residentBytes.end(), bytes.Data());
    return bytes;
  }

  Napi::Value threads(Napi::Env env) const {
    const RunThreads& threads = trace_.threads;
    const Napi::Object result = Napi::Object::New(env);
    result.Set("perRank", Napi::Number::New(env, threads.perRank));
    result.Set("computing", Napi::Number::New(env, threads.computing));
    result.Set("communicating", Napi::Number::New(env, threads.communicating));
    const Napi::Array cores = Napi::Array::New(env);
    for (const std::int32_t core : threads.cores) cores.Set(cores.Length(), core);
    result.Set("cores", cores);
    result.Set("unpinned", threads.unpinned);
    return result;
  }

  // The part of this process's rank; the others run theirs elsewhere.
  void runOverMpi() {
    const CollectivePlan collectives = planCollectives(program_, *options_.rank);
    const std::unique_ptr<Transport> transport = mpi_->makeTransport(collectives.memberSets);
    options_.transport = transport.get();
    options_.collectives = &collectives;
    runProgram(program_, options_, outputs_, trace_, cancellation_);
    digest_ = digestOfRank(program_, *options_.rank, outputs_);
  }

  static Isa isaAt(const Napi::Object& options) {
    const std::string name = options.Get("isa").ToString().Utf8Value();
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16}) {
      if (name == isaName(isa)) return isa;
    }
    refuseArgument("isa", "scalar, avx2, avx512 or avx512bf16");
  }

  static const float* savedAt(const Napi::Object& options, const char* name, double length) {
    const std::span<const float> values = columnAt<float>(options, name);
    if (double(values.size()) != length) refuseArgument(name, std::to_string(std::int64_t(length)) + " elements");
    return values.data();
  }

  // One array for each tensor of the program, or null.
  void takeTensors(const Napi::Object& given) {
    const std::size_t count = program_.tensor.code.size();
    // The program is checked later, but the sizes below are read now.
    if (program_.tensor.heads.size() != count || program_.tensor.width.size() != count || program_.tensor.rows.size() != count)
      refuseArgument("tensors", "columns of one length");
    for (std::uint32_t i = 0; i < count; ++i) {
      const Napi::Value value = given.Get(i);
      if (!value.IsTypedArray()) {
        tensors_.push_back(nullptr);
        continue;
      }
      const double length =
          double(program_.tensor.heads[i]) * double(program_.rowsOf(std::int32_t(i))) * program_.tensor.width[i];
      const auto array = value.As<Napi::TypedArray>();
      if (array.TypedArrayType() != napi_float32_array || double(array.ElementLength()) != length)
        refuseArgument("tensors", "arrays of their tensors' sizes");
      tensors_.push_back(value.As<Napi::Float32Array>().Data());
    }
    options_.tensors = tensors_;
  }

  float* makeOutput(Napi::Env env, const char* name, double length) {
    if (!(length >= 0 && length < largestArray))
      refuseArgument(name, "smaller: it would have " + std::to_string(std::int64_t(length)) + " elements");
    const Napi::Float32Array array = Napi::Float32Array::New(env, static_cast<std::size_t>(length));
    results_.Set(name, array);
    return const_cast<Napi::Float32Array&>(array).Data();
  }

  std::span<double> makeTrace(Napi::Env env, const char* name) {
    Napi::Float64Array array = Napi::Float64Array::New(env, program_.op.kind.size());
    results_.Set(name, array);
    return {array.Data(), array.ElementLength()};
  }

  Program program_;
  RunOptions options_;
  MpiProcess* mpi_ = nullptr;
  OutputDigest digest_;
  RunOutputs outputs_;
  RunTrace trace_;
  Cancellation cancellation_;
  std::vector<float*> tensors_;
  std::vector<Napi::ObjectReference> kept_;
  Napi::ObjectReference results_;
};

}  // namespace

Napi::Value startRun(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto job = std::make_shared<RunJob>(info[0].As<Napi::Object>(), info[1].As<Napi::Object>(), info[2].As<Napi::Object>());
  job->makeResults(env);
  const Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", job->start(env, "hsap run"));
  handle.Set("abort", job->abortFunction(env));
  return handle;
}

}  // namespace hsap::addon
