#include "bench_job.h"

#include <cmath>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "arguments.h"
#include "background_job.h"
#include "hsap/bench.h"

namespace hsap::addon {

namespace {

template <typename T>
using Named = std::initializer_list<std::pair<const char*, T>>;

const Named<Isa> isaNames{{"scalar", Isa::scalar}, {"avx2", Isa::avx2}, {"avx512", Isa::avx512}, {"avx512bf16", Isa::avx512bf16}};
const Named<bench::DType> dtypeNames{{"fp32", bench::DType::fp32}, {"bf16", bench::DType::bf16}};
const Named<Mask> maskNames{{"full", Mask::full}, {"causal", Mask::causal}};
const Named<bench::Pass> passNames{{"forward", bench::Pass::forward}, {"backward", bench::Pass::backward}};

template <typename T>
const char* nameOf(Named<T> names, T wanted) {
  for (const auto& [name, value] : names) {
    if (value == wanted) return name;
  }
  throw CodedError("engine-failed", "a value of the benchmark has no name");
}

Napi::Array arrayAt(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsArray()) refuseArgument(name, "an array");
  return value.As<Napi::Array>();
}

template <typename T>
std::vector<T> wordsAt(const Napi::Object& from, const char* list, Named<T> names) {
  const Napi::Array words = arrayAt(from, list);
  std::vector<T> values;
  for (std::uint32_t i = 0; i < words.Length(); ++i) {
    const std::string word = words.Get(i).ToString();
    bool known = false;
    for (const auto& [name, value] : names) {
      if (word == name) values.push_back(value), known = true;
    }
    if (!known) refuseArgument(list, "of known words, not " + word);
  }
  return values;
}

std::vector<std::int32_t> integersAt(const Napi::Object& from, const char* name) {
  const auto column = columnAt<std::int32_t>(from, name);
  return {column.begin(), column.end()};
}

bench::Options optionsFrom(const Napi::Object& from) {
  bench::Options options;
  options.isas = wordsAt(from, "isas", isaNames);
  options.dtypes = wordsAt(from, "dtypes", dtypeNames);
  options.headDims = integersAt(from, "headDims");
  options.masks = wordsAt(from, "masks", maskNames);
  options.passes = wordsAt(from, "passes", passNames);
  const Napi::Array mixes = arrayAt(from, "mixes");
  for (std::uint32_t i = 0; i < mixes.Length(); ++i) {
    const Napi::Value mix = mixes.Get(i);
    if (!mix.IsObject()) refuseArgument("mixes", "an array of objects");
    options.mixes.push_back({mix.As<Napi::Object>().Get("name").ToString(), integersAt(mix.As<Napi::Object>(), "lengths")});
  }
  options.heads = intAt(from, "heads");
  options.kvHeads = intAt(from, "kvHeads");
  options.repeats = intAt(from, "repeats");
  options.minSampleMs = numberAt(from, "minSampleMs");
  return options;
}

class BenchJob final : public BackgroundJob {
 public:
  explicit BenchJob(const Napi::Object& options) : options_(optionsFrom(options)) {}

  // afterSample(done, total, goOn) is called on the JavaScript thread; measuring rests until it has called goOn().
  void listen(Napi::Env env, const Napi::Function& afterSample) {
    sampled_ = Napi::ThreadSafeFunction::New(env, afterSample, "hsap bench sample", 0, 1);
  }

  void cancel() override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

 protected:
  void work() override {
    const struct Release {
      BenchJob& job;
      ~Release() {
        if (job.status_ != napi_closing) job.sampled_.Release();
      }
    } release{*this};
    try {
      measured_ = bench::benchKernels(options_, [this](std::size_t done, std::size_t total) { return rest(done, total); });
    } catch (const std::invalid_argument& error) {
      throw CodedError("invalid-argument", error.what());
    }
    const std::lock_guard lock(mutex_);
    if (cancelled_) throw CodedError("aborted", "benchmark aborted");
  }

  Napi::Value result(Napi::Env env) override {
    const Napi::Object result = Napi::Object::New(env);
    const Napi::Array peaks = Napi::Array::New(env), rows = Napi::Array::New(env);
    for (const bench::Peak& peak : measured_.peaks) {
      const Napi::Object object = Napi::Object::New(env);
      object.Set("isa", nameOf(isaNames, peak.isa)), object.Set("dtype", nameOf(dtypeNames, peak.dtype));
      object.Set("gflops", peak.gflops);
      peaks.Set(peaks.Length(), object);
    }
    for (const bench::Row& row : measured_.rows) rows.Set(rows.Length(), rowObject(env, row));
    result.Set("peaks", peaks), result.Set("copyBandwidthGBps", measured_.copyBandwidthGBps), result.Set("rows", rows);
    return result;
  }

 private:
  static Napi::Object rowObject(Napi::Env env, const bench::Row& row) {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("isa", nameOf(isaNames, row.isa)), object.Set("dtype", nameOf(dtypeNames, row.dtype));
    object.Set("headDim", row.headDim);
    object.Set("mask", nameOf(maskNames, row.mask)), object.Set("pass", nameOf(passNames, row.pass));
    object.Set("tokens", static_cast<double>(row.tokens)), object.Set("mix", row.mix);
    object.Set("gflops", row.gflops), object.Set("shareOfPeak", row.shareOfPeak), object.Set("error", row.error);
    return object;
  }

  // Whether to go on.
  bool rest(std::size_t done, std::size_t total) {
    {
      const std::lock_guard lock(mutex_);
      resumed_ = false;
    }
    const auto self = std::static_pointer_cast<BenchJob>(shared_from_this());
    status_ = sampled_.BlockingCall([self, done, total](Napi::Env env, Napi::Function afterSample) {
      const auto goOn = Napi::Function::New(env, [weak = std::weak_ptr<BenchJob>(self)](const Napi::CallbackInfo&) {
        if (const auto job = weak.lock()) job->resume();
      });
      afterSample.Call(
          {Napi::Number::New(env, static_cast<double>(done)), Napi::Number::New(env, static_cast<double>(total)), goOn});
    });
    if (status_ != napi_ok) return false;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return resumed_ || cancelled_; });
    return !cancelled_;
  }

  void resume() {
    const std::lock_guard lock(mutex_);
    resumed_ = true;
    changed_.notify_all();
  }

  const bench::Options options_;
  bench::Result measured_;
  Napi::ThreadSafeFunction sampled_;
  napi_status status_ = napi_ok;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool resumed_ = false, cancelled_ = false;
};

}  // namespace

Napi::Value startBench(const Napi::CallbackInfo& info) {
  if (!info[0].IsObject() || !info[1].IsFunction()) refuseArgument("bench", "options and a function");
  const auto job = std::make_shared<BenchJob>(info[0].As<Napi::Object>());
  job->listen(info.Env(), info[1].As<Napi::Function>());
  const Napi::Object handle = Napi::Object::New(info.Env());
  handle.Set("promise", job->start(info.Env(), "hsap bench"));
  handle.Set("abort", job->abortFunction(info.Env()));
  return handle;
}

}  // namespace hsap::addon
