// The dispatch table of one instruction set.
#include "isa.h"

#ifndef EDGERUN_REGISTRY  // another list: only these kernels, over the table of another instruction set
#define EDGERUN_REGISTRY "registry.inc"
#endif

EDGERUN_ISA_BEGIN
#define EDGERUN_KERNEL(name) extern const Kernel name##_kernel;
#include EDGERUN_REGISTRY
#undef EDGERUN_KERNEL
static const Kernel* const kEntries[] = {
#define EDGERUN_KERNEL(name) &name##_kernel,
#include EDGERUN_REGISTRY
#undef EDGERUN_KERNEL
};
const Kernel* const* entries(int32_t* count) {
  *count = sizeof(kEntries) / sizeof(kEntries[0]);
  return kEntries;
}
EDGERUN_ISA_END
