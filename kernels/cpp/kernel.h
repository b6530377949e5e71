// The one signature every kernel has. Numbers only: no graph, node, file, engine or Python is known here.
//
// A kernel is three functions and one line in registry.inc:
//   query    what the call needs (bytes of parameters, packed constants, scratch; units of work)
//   prepare  once, ahead of time: checks shapes, resolves attributes into its own POD, packs constants
//   run      in the loop: reads the POD, computes units [begin, end); no allocation, no exception, no dispatch on strings
//   audit    for kernels with a checksum (attribute abft): what run's sums must be, from the operands alone
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__FAST_MATH__) || defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "edgerun must not be built with fast-math: NaN and range guards are compiled away (docs/architecture.md)"
#endif

// These helpers are compiled into every ISA's objects under one name: always inlined, or the linker could keep the AVX-512
// copy for the baseline.
#define EDGERUN_INLINE __attribute__((always_inline)) inline

namespace edgerun {

enum class DType : uint8_t { f32 = 0, f64, f16, bf16, i8, u8, i16, u16, i32, u32, i64, u64, b8, none = 255 };

inline constexpr int kMaxRank = 8;
inline constexpr int kCacheLine = 64;  // alignment of every arena slot, constant, packed block and scratch buffer

EDGERUN_INLINE constexpr size_t size_of(DType t) {
  switch (t) {
    case DType::f64: case DType::i64: case DType::u64: return 8;
    case DType::f32: case DType::i32: case DType::u32: return 4;
    case DType::f16: case DType::bf16: case DType::i16: case DType::u16: return 2;
    case DType::none: return 0;
    default: return 1;
  }
}

enum class Status : uint8_t {
  ok = 0,
  bad_arity,      // number of inputs or outputs
  bad_dtype,      // an operand has a dtype the kernel does not take
  bad_rank,       // an operand has too few or too many dimensions
  bad_shape,      // dimensions of operands do not fit each other
  bad_attribute,  // missing, or out of its legal range
  unsupported,    // legal, but this kernel does not do it
  too_large,      // sizes overflow 63 bits
  not_constant,   // an operand that must be known ahead of time is not
  bad_index,      // a constant index points outside its dimension
};

// Row-major and contiguous. Spatial tensors are channels-last (N, spatial..., C).
struct TensorView {
  void* data;  // null: not known yet (during query/prepare), or absent when rank < 0
  int64_t dims[kMaxRank];
  int32_t rank;  // < 0: optional operand is absent
  DType dtype;

  EDGERUN_INLINE bool absent() const { return rank < 0; }
  EDGERUN_INLINE int64_t elements() const {
    int64_t n = 1;
    for (int32_t i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  // Product of dims[from, to).
  EDGERUN_INLINE int64_t span(int32_t from, int32_t to) const {
    int64_t n = 1;
    for (int32_t i = from; i < to; ++i) n *= dims[i];
    return n;
  }
  EDGERUN_INLINE int64_t last() const { return rank > 0 ? dims[rank - 1] : 1; }
  template <class T> EDGERUN_INLINE T* as() const { return static_cast<T*>(data); }
};

// A named list of integers or of floats (enumerations travel as integers).
struct Attr {
  const char* name;
  const int64_t* ints;
  const float* floats;
  int32_t count;
};

struct Attrs {
  const Attr* items;
  int32_t count;

  EDGERUN_INLINE const Attr* find(const char* name) const {
    for (int32_t k = 0; k < count; ++k) {
      const char *a = items[k].name, *b = name;
      while (*a && *a == *b) ++a, ++b;
      if (*a == *b) return &items[k];
    }
    return nullptr;
  }
  EDGERUN_INLINE int64_t i(const char* name, int64_t fallback = 0, int32_t at = 0) const {
    const Attr* a = find(name);
    return a && a->ints && at < a->count ? a->ints[at] : fallback;
  }
  EDGERUN_INLINE float f(const char* name, float fallback = 0.f, int32_t at = 0) const {
    const Attr* a = find(name);
    return a && a->floats && at < a->count ? a->floats[at] : fallback;
  }
  EDGERUN_INLINE int32_t size(const char* name) const {
    const Attr* a = find(name);
    return a ? a->count : 0;
  }
};

// What a step asks a kernel to do. Constants have data; every other operand's data is null here.
struct Request {
  Attrs attrs;
  const TensorView* in;
  const TensorView* out;
  int32_t n_in, n_out;

  EDGERUN_INLINE bool has(int32_t k) const { return k < n_in && !in[k].absent(); }
};

struct Need {
  size_t params = 0;    // bytes of the POD that prepare fills
  size_t packed = 0;    // bytes of packed constants that prepare fills
  size_t table = 0;     // of them the first ones that every result goes by (offsets, counts, factors): few, and no checksum sees them
  size_t audit_table_at = 0, audit_table = 0;  // likewise what Kernel::audit goes by
  size_t scratch = 0;   // bytes of scratch per thread
  int64_t units = 1;    // independent units of work; a thread gets a range of them
  double work = 0;      // arithmetic operations (MAC = 2), for the threading decision
  double bytes = 0;     // memory traffic, likewise
  bool indexed = false; // reads indices only known at run time, and reports those out of range (Run::bad_index)
  int64_t audit_units = 0;   // units of Kernel::audit; 0: nothing to audit
  int32_t audit_sums = 0;    // sums of floats that are gathered, at most kMostSums
  double audit_bound = 0;    // seen and expected differ by at most this times the magnitude; 0: whole numbers, equal mod 2^32
};

// Where a kernel lets a fault in: the activation's result before it is checked, the sum of products before bias, residual and
// rescaling, or what rescaling made of an integer sum.
enum class FaultSite : uint8_t { result = 0, accumulator, rescaled };

// An armed fault: the bits of `mask` of the value with this flat output index are flipped, set or cleared.
struct Fault {
  int64_t index;
  uint32_t mask;
  FaultSite site = FaultSite::result;
  enum class Mode : uint8_t { flip = 0, set, clear } mode = Mode::flip;

  EDGERUN_INLINE uint32_t strike(uint32_t bits) const {
    return mode == Mode::flip ? bits ^ mask : mode == Mode::set ? bits | mask : bits & ~mask;
  }
};

// What was violated. Kernels raise the first four, the engine the others.
enum CheckFlag : uint32_t {
  kIdentity = 1u, kNonFinite = 2u, kRange = 4u, kRequantised = 8u,
  kChecksum = 16u, kDuplicate = 32u, kBuffer = 64u, kWeights = 128u, kFlow = 256u,
};

// Checksums of a product (ABFT), gathered by one thread over one step. Output channels fall into Need::audit_sums sums: `seen` is
// what the products of each came to, `expected` what the sums of the operand and of the weights say they must come to.
inline constexpr int kChecksumLanes = 16, kMostSums = 128;
struct alignas(kCacheLine) Checksum {
  double magnitude = 0;                      // not less than sum |x||w| of any sum
  double size = 0;                           // sum of |x| over the operand (floats), for the check range
  uint32_t difference[kChecksumLanes] = {};  // whole numbers: seen - expected, always kChecksumLanes of them
  double seen[kMostSums] = {}, expected[kMostSums] = {};
};

// What one thread saw while it computed one step. One cache line, so threads never share one.
struct alignas(kCacheLine) CheckSink {
  uint64_t checked = 0;      // activation values verified
  uint32_t flags = 0;        // CheckFlag bits
  int64_t first_index = -1;  // flat output index of (or the start of the row/tile holding) the first violation
  float got = 0, expected = 0, bound = 0;  // of that violation, where the kernel knows them
  const Fault* fault = nullptr;            // null unless an injection is armed for this step
  Checksum* checksum = nullptr;            // this thread's own; never null for a step that is audited
};

// The first index out of range that one thread met in one step; it was not followed. One cache line, as above.
struct alignas(kCacheLine) BadIndex {
  int64_t position = -1;  // in the index tensor; -1: none
  int64_t value = 0, extent = 0;  // expected in [-extent, extent)

  EDGERUN_INLINE void report(int64_t at, int64_t found, int64_t size) {
    if (position >= 0 && position <= at) return;
    position = at;
    value = found;
    extent = size;
  }
};

struct Run {
  const void* params;
  const void* packed;
  const TensorView* in;
  const TensorView* out;
  void* scratch;       // Need::scratch bytes, this thread's own
  int64_t begin, end;  // units
  CheckSink* sink;     // null: checks off
  int32_t n_in, n_out;
  BadIndex* bad_index;  // this thread's own; never null for a kernel whose Need::indexed is set
};

struct Kernel {
  const char* name;  // <op>_<dtype>
  Status (*query)(const Request&, Need*);
  Status (*prepare)(const Request&, void* params, void* packed);
  void (*run)(const Run&);
  void (*audit)(const Run&) = nullptr;  // after run, where Need::audit_units > 0: adds what the sums must be to sink->checksum
};

struct KernelTable {
  const char* isa;
  const Kernel* const* kernels;
  int32_t count;
};

// The best table this CPU can run; EDGERUN_ISA=<name> (sse2, avx2, avxvnni, avx512, avx512vnni, neon, neondot,
// neoni8mm, generic) forces one that is supported.
const KernelTable& kernels();
// All tables compiled in and supported by this CPU, best first; returns how many.
int32_t supported_tables(const KernelTable** out, int32_t capacity);
const Kernel* find_kernel(const KernelTable&, const char* name);

}  // namespace edgerun
