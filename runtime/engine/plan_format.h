// The stored plan, byte for byte (docs/plan-format.md). Little-endian; every record is a multiple of 8 bytes.
#pragma once
#include <cstdint>

namespace edgerun::format {

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the plan reader needs a little-endian machine"
#endif

inline constexpr char kMagic[8] = {'E', 'D', 'G', 'E', 'P', 'L', 'A', 'N'};
inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kAbsent = 0xFFFFFFFFu;

struct Header {
  char magic[8];
  uint32_t version, header_bytes;
  uint64_t total_bytes, arena_bytes;
  uint32_t section_count, reserved[6];
  uint32_t crc;  // CRC-32 (zlib) of every byte of the plan but these four
};
static_assert(sizeof(Header) == 64);

enum SectionId : uint32_t {
  kStrings = 1, kInts, kFloats, kDoubles, kSlots, kSteps, kAttrs, kChecks, kConstants, kData,
  kInputs, kOutputs, kExits, kPolicy, kDifficulty, kMetadata, kFallbacks, kSectionEnd
};

struct Section {
  uint32_t id, count;  // count of records
  uint64_t offset, bytes;
};
static_assert(sizeof(Section) == 24);

struct Range {  // of a pool: first element and how many
  uint32_t at, count;
};

struct Slot {
  Range name, dims;  // dims: of the integer pool
  uint8_t dtype, place, pad[6];
  uint64_t offset;
};
static_assert(sizeof(Slot) == 32);

struct Step {
  Range kernel, node, op, inputs, outputs, attrs, checks;  // inputs, outputs: slot indices in the integer pool
  uint32_t segment, pad;
  uint64_t macs;
};
static_assert(sizeof(Step) == 72);

struct Attr {
  Range name, values;
  uint32_t is_float, pad;
};
static_assert(sizeof(Attr) == 24);

struct Check {
  Range kind;
  float bound;
  uint32_t pad;
};
static_assert(sizeof(Check) == 16);

struct Constant {
  uint64_t offset, bytes;  // of the data section
};

struct Port {
  Range name, onnx_shape;  // onnx_shape: a JSON list
  uint32_t slot, pad;
};
static_assert(sizeof(Port) == 24);

struct Exit {
  Range name;
  uint32_t slot, logits, step, pad;
  uint64_t macs;
};
static_assert(sizeof(Exit) == 32);

struct Policy {  // ranges are of the double pool; tables are row-major
  uint32_t kind, patience;
  double beta, mix;
  int64_t budget_ns;
  Range thresholds, bin_edges, segment_ns, table, coeff, temperature;
  uint32_t table_rows, coeff_rows;
};
static_assert(sizeof(Policy) == 88);

struct Difficulty {
  uint32_t slot, pad;
  double weights[3], low[3], high[3], tau_edge;
};
static_assert(sizeof(Difficulty) == 88);

struct Pair {
  Range key, value;
};
static_assert(sizeof(Pair) == 16);

struct Fallback {
  uint32_t step, pad;
  Range node, op, reason;
};
static_assert(sizeof(Fallback) == 32);

}  // namespace edgerun::format
