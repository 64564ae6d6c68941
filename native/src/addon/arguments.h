// Reads what JavaScript hands over. TypeScript has checked it; here only what would crash is checked again.
#pragma once

#include <napi.h>

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "background_job.h"
#include "hsap/inputs.h"
#include "hsap/program.h"

namespace hsap::addon {

[[noreturn]] inline void refuseArgument(const std::string& name, const std::string& expected) {
  throw CodedError("invalid-argument", "invalid argument " + name + " (must be " + expected + ")");
}

inline Napi::Object objectAt(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsObject()) refuseArgument(name, "an object");
  return value.As<Napi::Object>();
}

inline double numberAt(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsNumber()) refuseArgument(name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

inline std::int32_t intAt(const Napi::Object& from, const char* name) {
  const double value = numberAt(from, name);
  if (!(value >= -2147483648.0 && value <= 2147483647.0)) refuseArgument(name, "an int32");
  return static_cast<std::int32_t>(value);
}

inline std::uint64_t seedAt(const Napi::Object& from, const char* name) {
  const double value = numberAt(from, name);
  if (!(value >= 0 && value <= 9007199254740991.0)) refuseArgument(name, "a whole number from 0 to 2^53 - 1");
  return static_cast<std::uint64_t>(value);
}

inline std::string textAt(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsString()) refuseArgument(name, "a text");
  return value.As<Napi::String>().Utf8Value();
}

inline bool boolAt(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsBoolean()) refuseArgument(name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

template <typename T>
constexpr napi_typedarray_type arrayTypeOf() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return napi_uint8_array;
  if constexpr (std::is_same_v<T, std::int32_t>) return napi_int32_array;
  if constexpr (std::is_same_v<T, float>) return napi_float32_array;
  if constexpr (std::is_same_v<T, double>) return napi_float64_array;
}

// The elements of a typed array, where they lie: valid while the array is referenced.
template <typename T>
std::span<const T> columnAt(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != arrayTypeOf<T>())
    refuseArgument(name, "a typed array of its column's type");
  const auto array = value.As<Napi::TypedArrayOf<T>>();
  return {array.Data(), array.ElementLength()};
}

// Keeps a JavaScript value alive while a job uses its memory.
inline Napi::ObjectReference keep(const Napi::Object& object) { return Napi::Persistent(object); }

AttentionProblem problemFrom(const Napi::Object& problem);
Program programFrom(const Napi::Object& tables, const Napi::Object& problem);
InputSource inputsFrom(const Napi::Object& options, bool bf16);

}  // namespace hsap::addon
