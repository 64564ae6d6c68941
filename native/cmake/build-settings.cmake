# Settings every target shares: the language, the build type, warnings and sanitizers.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, RelWithDebInfo or Debug" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")

add_compile_options(-Wall -Wextra -Wshadow)

# A comma-separated list for -fsanitize=, as `address,undefined` or `thread`.
set(HSAP_SANITIZE "" CACHE STRING "sanitizers to build with")
if(HSAP_SANITIZE)
  add_compile_options(-fsanitize=${HSAP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${HSAP_SANITIZE})
endif()

# Of files that hold register tiles. These are straight code without pointers of their own; the checks left out here take compilers
# many minutes over them. What lies outside of an allocation, and arithmetic, are still checked.
if(HSAP_SANITIZE)
  set(HSAP_TILE_OPTIONS -O1 -fno-sanitize=null,alignment,object-size,pointer-overflow,bounds
    -fno-sanitize-address-use-after-scope)
endif()

find_package(Threads REQUIRED)

# Options of the files that are compiled for one instruction set. GCC 12 warns about deliberately undefined registers inside of
# its own AVX-512 header (its bug 105593).
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(HSAP_X86 ON)
  set(HSAP_AVX2_OPTIONS -mavx2 -mfma)
  set(HSAP_AVX512_OPTIONS -mavx2 -mfma -mavx512f -mavx512dq -mavx512bw -mavx512vl -mprefer-vector-width=512
    -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
