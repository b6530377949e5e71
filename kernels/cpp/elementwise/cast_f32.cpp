// cast_f32_*: f32 to every type; the rules are in cast.h.
#include "cast.h"

EDGERUN_ISA_BEGIN
EDGERUN_CAST(f32, float, f32, float)
EDGERUN_CAST(f32, float, f64, double)
EDGERUN_CAST(f32, float, f16, Half)
EDGERUN_CAST(f32, float, bf16, Brain)
EDGERUN_CAST(f32, float, i8, int8_t)
EDGERUN_CAST(f32, float, u8, uint8_t)
EDGERUN_CAST(f32, float, i16, int16_t)
EDGERUN_CAST(f32, float, u16, uint16_t)
EDGERUN_CAST(f32, float, i32, int32_t)
EDGERUN_CAST(f32, float, u32, uint32_t)
EDGERUN_CAST(f32, float, i64, int64_t)
EDGERUN_CAST(f32, float, u64, uint64_t)
EDGERUN_CAST(f32, float, b8, Bool)
EDGERUN_ISA_END
