// Sums over buffers, at the speed of memory: see word_sum.cpp for what they detect.
#pragma once
#include "kernel.h"

namespace edgerun {

// Sets sums[0] and sums[1].
using WordSum = void (*)(const void* data, size_t bytes, uint64_t* sums);
// Compiled for the instruction set of a table that supported_tables or kernels returned.
WordSum word_sum_of(const KernelTable&);

}  // namespace edgerun
