// Each kernel source is compiled once per instruction set; everything in it lives in a namespace named after that set, so
// no two variants share a symbol. EDGERUN_ISA is defined by the build (sse2 avx2 avx512 neon generic).
#pragma once
#include "kernel.h"

#ifndef EDGERUN_ISA
#define EDGERUN_ISA generic
#endif
#define EDGERUN_ISA_BEGIN namespace edgerun::EDGERUN_ISA {
#define EDGERUN_ISA_END }
