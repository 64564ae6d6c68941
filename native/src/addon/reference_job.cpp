#include "reference_job.h"

#include <atomic>
#include <vector>

#include "arguments.h"
#include "background_job.h"
#include "hsap/reference.h"

namespace hsap::addon {

namespace {

class ReferenceJob final : public BackgroundJob {
 public:
  ReferenceJob(const Napi::Object& problem, const Napi::Object& options)
      : problem_(problemFrom(problem)),
        kept_(keep(problem)),
        inputs_(inputsFrom(options, problem_.bf16)),
        threads_(intAt(options, "threads")) {
    // cuSeqlens gives the sizes of all arrays, so it is looked at before they are made.
    const auto& cuSeqlens = problem_.cuSeqlens;
    for (std::size_t i = 0; i < cuSeqlens.size(); ++i) {
      if (i == 0 ? cuSeqlens[i] != 0 : cuSeqlens[i] < cuSeqlens[i - 1]) refuseArgument("cuSeqlens", "ascending from 0");
    }
    if (cuSeqlens.empty() || problem_.heads < 1 || problem_.kvHeads < 1 || problem_.headDim < 1)
      refuseArgument("problem", "of at least one head, column and document");
  }

  void makeResults(Napi::Env env) {
    results_ = keep(Napi::Object::New(env));
    o_ = makeOutput(env, "o", problem_.heads, problem_.headDim);
    lse_ = makeOutput(env, "lse", problem_.heads, 1);
    if (!problem_.backward) return;
    dq_ = makeOutput(env, "dq", problem_.heads, problem_.headDim);
    dk_ = makeOutput(env, "dk", problem_.kvHeads, problem_.headDim);
    dv_ = makeOutput(env, "dv", problem_.kvHeads, problem_.headDim);
  }

  void cancel() override { cancelled_ = true; }

 protected:
  void work() override {
    try {
      compute();
    } catch (const reference::Cancelled&) {
      throw CodedError("aborted", "reference aborted");
    }
  }

  Napi::Value result(Napi::Env) override { return results_.Value(); }

 private:
  void compute() {
    const reference::Problem problem{
        problem_.heads,  problem_.kvHeads, problem_.headDim, problem_.cuSeqlens.data(), problem_.cuSeqlens.size() - 1,
        problem_.causal, &cancelled_};
    const std::vector<float> q = make(InputTensor::q, problem_.heads), k = make(InputTensor::k, problem_.kvHeads),
                             v = make(InputTensor::v, problem_.kvHeads);
    reference::forward(problem, q.data(), k.data(), v.data(), o_, lse_, threads_);
    if (!problem_.backward) return;
    const std::vector<float> dO = make(InputTensor::dO, problem_.heads);
    reference::backward(problem, q.data(), k.data(), v.data(), dO.data(), dq_, dk_, dv_, threads_);
  }

  double* makeOutput(Napi::Env env, const char* name, std::int32_t heads, std::int32_t width) {
    const double length = double(heads) * double(problem_.tokens()) * width;
    if (!(length < 4294967296.0))
      refuseArgument(name, "smaller: it would have " + std::to_string(std::int64_t(length)) + " elements");
    Napi::Float64Array array = Napi::Float64Array::New(env, static_cast<std::size_t>(length));
    results_.Set(name, array);
    return array.Data();
  }

  std::vector<float> make(InputTensor tensor, std::int32_t heads) const {
    const auto tokens = static_cast<std::int32_t>(problem_.tokens());
    std::vector<float> values(std::size_t(heads) * tokens * problem_.headDim);
    inputs_.fill(tensor, {values.data(), std::ptrdiff_t{tokens} * problem_.headDim, problem_.headDim}, 0, tokens, 0, heads,
                 problem_.headDim);
    return values;
  }

  const AttentionProblem problem_;
  const Napi::ObjectReference kept_;
  const InputSource inputs_;
  const int threads_;
  std::atomic<bool> cancelled_ = false;
  Napi::ObjectReference results_;
  double *o_ = nullptr, *lse_ = nullptr, *dq_ = nullptr, *dk_ = nullptr, *dv_ = nullptr;
};

}  // namespace

Napi::Value startReference(const Napi::CallbackInfo& info) {
  const auto job = std::make_shared<ReferenceJob>(info[0].As<Napi::Object>(), info[1].As<Napi::Object>());
  job->makeResults(info.Env());
  const Napi::Object handle = Napi::Object::New(info.Env());
  handle.Set("promise", job->start(info.Env(), "hsap reference"));
  handle.Set("abort", job->abortFunction(info.Env()));
  return handle;
}

}  // namespace hsap::addon
