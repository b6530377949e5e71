// cast_u8_*: u8 to every type; the rules are in cast.h.
#include "cast.h"

EDGERUN_ISA_BEGIN
EDGERUN_CAST(u8, uint8_t, f32, float)
EDGERUN_CAST(u8, uint8_t, f64, double)
EDGERUN_CAST(u8, uint8_t, f16, Half)
EDGERUN_CAST(u8, uint8_t, bf16, Brain)
EDGERUN_CAST(u8, uint8_t, i8, int8_t)
EDGERUN_CAST(u8, uint8_t, u8, uint8_t)
EDGERUN_CAST(u8, uint8_t, i16, int16_t)
EDGERUN_CAST(u8, uint8_t, u16, uint16_t)
EDGERUN_CAST(u8, uint8_t, i32, int32_t)
EDGERUN_CAST(u8, uint8_t, u32, uint32_t)
EDGERUN_CAST(u8, uint8_t, i64, int64_t)
EDGERUN_CAST(u8, uint8_t, u64, uint64_t)
EDGERUN_CAST(u8, uint8_t, b8, Bool)
EDGERUN_ISA_END
