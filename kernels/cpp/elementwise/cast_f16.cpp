// cast_f16_*: f16 to every type; the rules are in cast.h.
#include "cast.h"

EDGERUN_ISA_BEGIN
EDGERUN_CAST(f16, Half, f32, float)
EDGERUN_CAST(f16, Half, f64, double)
EDGERUN_CAST(f16, Half, bf16, Brain)
EDGERUN_CAST(f16, Half, i8, int8_t)
EDGERUN_CAST(f16, Half, u8, uint8_t)
EDGERUN_CAST(f16, Half, i16, int16_t)
EDGERUN_CAST(f16, Half, u16, uint16_t)
EDGERUN_CAST(f16, Half, i32, int32_t)
EDGERUN_CAST(f16, Half, u32, uint32_t)
EDGERUN_CAST(f16, Half, i64, int64_t)
EDGERUN_CAST(f16, Half, u64, uint64_t)
EDGERUN_CAST(f16, Half, b8, Bool)
EDGERUN_ISA_END
