// The dispatch table of one instruction set.
#include "isa.h"

EDGERUN_ISA_BEGIN
#define EDGERUN_KERNEL(name) extern const Kernel name##_kernel;
#include "registry.inc"
#undef EDGERUN_KERNEL
static const Kernel* const kEntries[] = {
#define EDGERUN_KERNEL(name) &name##_kernel,
#include "registry.inc"
#undef EDGERUN_KERNEL
};
const Kernel* const* entries(int32_t* count) {
  *count = sizeof(kEntries) / sizeof(kEntries[0]);
  return kEntries;
}
EDGERUN_ISA_END
