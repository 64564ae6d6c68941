// Work on a thread of its own that ends in a promise: neither the JavaScript thread nor Node's pool waits for it.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

namespace hsap::addon {

// An error with the string code that JavaScript sees as its `code`.
struct CodedError : std::runtime_error {
  CodedError(std::string errorCode, const std::string& message) : std::runtime_error(message), code(std::move(errorCode)) {}
  std::string code;
};

class BackgroundJob;

// All jobs of one Node environment; when it is torn down, they are cancelled and waited for.
class JobRegistry {
 public:
  static JobRegistry& of(Napi::Env env);

  void add(std::shared_ptr<BackgroundJob> job) { jobs_.insert(std::move(job)); }
  void remove(const std::shared_ptr<BackgroundJob>& job) { jobs_.erase(job); }
  void endAll();

 private:
  std::set<std::shared_ptr<BackgroundJob>> jobs_;
};

class BackgroundJob : public std::enable_shared_from_this<BackgroundJob> {
 public:
  virtual ~BackgroundJob() = default;

  // Starts the job; call once, on the JavaScript thread.
  Napi::Promise start(Napi::Env env, const char* name);
  // From any thread: asks the work to end soon, with whatever error it chooses.
  virtual void cancel() = 0;
  // A function for JavaScript that cancels the job if it still runs.
  Napi::Function abortFunction(Napi::Env env);
  void join();

 protected:
  // On the job's thread. Throws CodedError, or anything else, which gets the code "engine-failed".
  virtual void work() = 0;
  // On the JavaScript thread after work: the promise's value.
  virtual Napi::Value result(Napi::Env env) = 0;

 private:
  void runWork();
  void settle(Napi::Env env);

  std::thread thread_;
  Napi::ThreadSafeFunction finished_;
  std::unique_ptr<Napi::Promise::Deferred> deferred_;
  std::string errorCode_, errorMessage_;
};

}  // namespace hsap::addon
