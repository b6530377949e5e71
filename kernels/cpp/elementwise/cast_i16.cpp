// cast_i16_*: i16 to every type; the rules are in cast.h.
#include "cast.h"

EDGERUN_ISA_BEGIN
EDGERUN_CAST(i16, int16_t, f32, float)
EDGERUN_CAST(i16, int16_t, f64, double)
EDGERUN_CAST(i16, int16_t, f16, Half)
EDGERUN_CAST(i16, int16_t, bf16, Brain)
EDGERUN_CAST(i16, int16_t, i8, int8_t)
EDGERUN_CAST(i16, int16_t, u8, uint8_t)
EDGERUN_CAST(i16, int16_t, i16, int16_t)
EDGERUN_CAST(i16, int16_t, u16, uint16_t)
EDGERUN_CAST(i16, int16_t, i32, int32_t)
EDGERUN_CAST(i16, int16_t, u32, uint32_t)
EDGERUN_CAST(i16, int16_t, i64, int64_t)
EDGERUN_CAST(i16, int16_t, u64, uint64_t)
EDGERUN_CAST(i16, int16_t, b8, Bool)
EDGERUN_ISA_END
