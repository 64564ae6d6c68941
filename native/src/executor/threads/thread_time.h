#pragma once

namespace hsap {

// Processor time of the calling thread, in microseconds.
double threadTimeUs();

}  // namespace hsap
