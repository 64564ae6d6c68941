// reference(problem, options): { promise, abort }
#pragma once

#include <napi.h>

namespace hsap::addon {

Napi::Value startReference(const Napi::CallbackInfo& info);

}  // namespace hsap::addon
