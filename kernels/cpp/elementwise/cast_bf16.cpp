// cast_bf16_*: bf16 to every type; the rules are in cast.h.
#include "cast.h"

EDGERUN_ISA_BEGIN
EDGERUN_CAST(bf16, Brain, f32, float)
EDGERUN_CAST(bf16, Brain, f64, double)
EDGERUN_CAST(bf16, Brain, f16, Half)
EDGERUN_CAST(bf16, Brain, i8, int8_t)
EDGERUN_CAST(bf16, Brain, u8, uint8_t)
EDGERUN_CAST(bf16, Brain, i16, int16_t)
EDGERUN_CAST(bf16, Brain, u16, uint16_t)
EDGERUN_CAST(bf16, Brain, i32, int32_t)
EDGERUN_CAST(bf16, Brain, u32, uint32_t)
EDGERUN_CAST(bf16, Brain, i64, int64_t)
EDGERUN_CAST(bf16, Brain, u64, uint64_t)
EDGERUN_CAST(bf16, Brain, b8, Bool)
EDGERUN_ISA_END
