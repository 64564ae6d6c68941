// run(tables, problem, options): { promise, abort }
#pragma once

#include <napi.h>

namespace hsap::addon {

Napi::Value startRun(const Napi::CallbackInfo& info);

}  // namespace hsap::addon
