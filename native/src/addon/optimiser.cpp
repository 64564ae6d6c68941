#include "optimiser.h"

#include "arguments.h"
#include "hsap/layer.h"

namespace hsap::addon {

namespace {

Napi::Float32Array floatsAt(const Napi::CallbackInfo& info, std::size_t i, std::size_t length) {
  const Napi::Value value = info[i];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    refuseArgument("array " + std::to_string(i), "a Float32Array");
  const auto array = value.As<Napi::Float32Array>();
  if (length != 0 && array.ElementLength() != length)
    refuseArgument("array " + std::to_string(i), std::to_string(length) + " elements");
  return array;
}

}  // namespace

Napi::Value adamWStep(const Napi::CallbackInfo& info) {
  Napi::Float32Array weights = floatsAt(info, 0, 0);
  const std::size_t count = weights.ElementLength();
  const Napi::Float32Array gradients = floatsAt(info, 1, count);
  Napi::Float32Array first = floatsAt(info, 2, count), second = floatsAt(info, 3, count);
  const auto options = info[4].As<Napi::Object>();
  const AdamW step{numberAt(options, "learningRate"), numberAt(options, "beta1"),       numberAt(options, "beta2"),
                   numberAt(options, "epsilon"),      numberAt(options, "weightDecay"), intAt(options, "step")};
  layerKernelsFor(bestIsa())->adamW(weights.Data(), const_cast<Napi::Float32Array&>(gradients).Data(), first.Data(),
                                    second.Data(), static_cast<std::int64_t>(count), step);
  return info.Env().Undefined();
}

}  // namespace hsap::addon
