#include "background_job.h"

namespace hsap::addon {

JobRegistry& JobRegistry::of(Napi::Env env) {
  auto* registry = env.GetInstanceData<JobRegistry>();
  if (registry == nullptr) {
    registry = new JobRegistry();
    env.SetInstanceData<JobRegistry>(registry);
    // Runs while the environment still stands, so that no thread outlives what it writes to.
    env.AddCleanupHook([registry] { registry->endAll(); });
  }
  return *registry;
}

void JobRegistry::endAll() {
  for (const auto& job : jobs_) job->cancel();
  for (const auto& job : jobs_) job->join();
}

Napi::Promise BackgroundJob::start(Napi::Env env, const char* name) {
  deferred_ = std::make_unique<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
  const Napi::Function nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  finished_ = Napi::ThreadSafeFunction::New(env, nothing, name, 0, 1);
  const std::shared_ptr<BackgroundJob> self = shared_from_this();
  JobRegistry::of(env).add(self);
  try {
    thread_ = std::thread([self] { self->runWork(); });
  } catch (const std::exception& error) {
    JobRegistry::of(env).remove(self);
    finished_.Release();
    throw CodedError("engine-failed", std::string("cannot start a thread: ") + error.what());
  }
  return deferred_->Promise();
}

Napi::Function BackgroundJob::abortFunction(Napi::Env env) {
  return Napi::Function::New(env, [job = weak_from_this()](const Napi::CallbackInfo&) {
    if (const auto running = job.lock()) running->cancel();
  });
}

void BackgroundJob::join() {
  if (thread_.joinable()) thread_.join();
}

void BackgroundJob::runWork() {
  try {
    work();
  } catch (const CodedError& error) {
    errorCode_ = error.code, errorMessage_ = error.what();
  } catch (const std::bad_alloc&) {
    errorCode_ = "out-of-memory", errorMessage_ = "not enough memory";
  } catch (const std::exception& error) {
    errorCode_ = "engine-failed", errorMessage_ = error.what();
  }
  // While the environment closes the call is refused, and the function must not be touched again.
  const napi_status status =
      finished_.BlockingCall([self = shared_from_this()](Napi::Env env, Napi::Function) { self->settle(env); });
  if (status != napi_closing) finished_.Release();
}

void BackgroundJob::settle(Napi::Env env) {
  const std::shared_ptr<BackgroundJob> self = shared_from_this();
  join();
  JobRegistry::of(env).remove(self);
  if (errorCode_.empty()) {
    deferred_->Resolve(result(env));
    return;
  }
  Napi::Error error = Napi::Error::New(env, errorMessage_);
  error.Set("code", Napi::String::New(env, errorCode_));
  deferred_->Reject(error.Value());
}

}  // namespace hsap::addon
