// bench(options, afterSample): { promise, abort }
#pragma once

#include <napi.h>

namespace hsap::addon {

Napi::Value startBench(const Napi::CallbackInfo& info);

}  // namespace hsap::addon
