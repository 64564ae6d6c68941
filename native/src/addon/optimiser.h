// adamW(weights, gradients, first, second, { learningRate, beta1, beta2, epsilon, weightDecay, step }): one step, in place.
#pragma once

#include <napi.h>

namespace hsap::addon {

Napi::Value adamWStep(const Napi::CallbackInfo& info);

}  // namespace hsap::addon
