// edgerun_kernels._native: call any C++ kernel on NumPy arrays. Used by tests and benchmarks, not by the engine.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel.h"

namespace py = pybind11;
using namespace edgerun;

namespace {

DType dtype_of(const py::array& a) {
  const char kind = a.dtype().kind();
  const auto size = a.itemsize();
  if (kind == 'b') return DType::b8;
  if (kind == 'f') return size == 8 ? DType::f64 : size == 4 ? DType::f32 : DType::f16;
  if (kind == 'V' && size == 2 && py::str(a.dtype()).cast<std::string>() == "bfloat16") return DType::bf16;
  const bool s = kind == 'i';
  if (kind != 'i' && kind != 'u') throw py::type_error("kernel operands are boolean, integer or float arrays");
  switch (size) {
    case 1: return s ? DType::i8 : DType::u8;
    case 2: return s ? DType::i16 : DType::u16;
    case 4: return s ? DType::i32 : DType::u32;
    default: return s ? DType::i64 : DType::u64;
  }
}

TensorView view_of(const py::object& o, bool writable) {
  TensorView v{};
  v.dtype = DType::none;
  v.rank = -1;
  if (o.is_none()) return v;
  py::array a = py::reinterpret_borrow<py::array>(o);
  if (!(a.flags() & py::array::c_style)) throw py::value_error("kernel operands must be C-contiguous");
  if (a.ndim() > kMaxRank) throw py::value_error("kernel operands have at most 8 dimensions");
  v.data = writable ? a.mutable_data() : const_cast<void*>(a.data());
  v.rank = static_cast<int32_t>(a.ndim());
  for (int32_t k = 0; k < v.rank; ++k) v.dims[k] = a.shape(k);
  v.dtype = dtype_of(a);
  return v;
}

struct Buffer {  // cache-line aligned
  std::unique_ptr<char, decltype(&std::free)> p;
  explicit Buffer(size_t n)
      : p(static_cast<char*>(std::aligned_alloc(kCacheLine, (n + kCacheLine) / kCacheLine * kCacheLine)), &std::free) {}
};

const KernelTable& table_of(const std::string& isa) {
  if (isa.empty()) return kernels();
  const KernelTable* all[8];
  const int32_t n = supported_tables(all, 8);
  for (int32_t k = 0; k < n; ++k)
    if (isa == all[k]->isa) return *all[k];
  throw py::value_error("instruction set '" + isa + "' is not compiled in or not supported by this CPU");
}

const char* reason(Status s) {
  static const char* const names[] = {"ok",        "bad_arity",     "bad_dtype",   "bad_rank",  "bad_shape",
                                      "bad_attribute", "unsupported", "too_large", "not_constant", "bad_index"};
  return names[static_cast<int>(s)];
}

// (index, mask), then optionally the site ("result", "accumulator", "rescaled") and the mode ("flip", "set", "clear").
Fault fault_of(const py::tuple& t) {
  const auto number = [&](size_t k, const std::vector<std::string>& words) {
    if (t.size() <= k) return size_t{0};
    const auto word = py::cast<std::string>(t[k]);
    for (size_t i = 0; i < words.size(); ++i)
      if (words[i] == word) return i;
    throw py::value_error("fault: '" + word + "' is none of its sites or modes");
  };
  return {py::cast<int64_t>(t[0]), py::cast<uint32_t>(t[1]), static_cast<FaultSite>(number(2, {"result", "accumulator", "rescaled"})),
          static_cast<Fault::Mode>(number(3, {"flip", "set", "clear"}))};
}

void add(const Checksum& c, Checksum* sum) {
  for (int j = 0; j < kMostSums; ++j) sum->seen[j] += c.seen[j], sum->expected[j] += c.expected[j];
  for (int j = 0; j < kChecksumLanes; ++j) sum->difference[j] += c.difference[j];
  sum->magnitude += c.magnitude;
  sum->size += c.size;
}

py::dict checksum_of(const Checksum& c, const Need& need) {
  py::dict result;
  result["seen"] = std::vector<double>(c.seen, c.seen + std::max(need.audit_sums, 1));
  result["expected"] = std::vector<double>(c.expected, c.expected + std::max(need.audit_sums, 1));
  result["difference"] = std::vector<uint32_t>(c.difference, c.difference + kChecksumLanes);
  result["magnitude"] = c.magnitude;
  result["size"] = c.size;
  result["bound"] = need.audit_bound;
  result["units"] = need.audit_units;
  return result;
}

// Runs one kernel. `constants` are indices of inputs whose data the kernel may see ahead of time (weights). With `audit` a checksum is
// gathered, as by the engine: result["checksum"]. parts: units are run (and audited) in so many ranges, each with a sink of its own.
// skip: a range of units that is left out. damage: (offset, mask) of bytes of the packed constants that are XORed after prepare.
py::dict call(const std::string& name, const py::list& inputs, const py::dict& attributes, const py::list& outputs,
              const std::vector<int>& constants, bool checks, const std::string& isa, int repeat, py::object fault, bool audit, int parts,
              std::pair<int64_t, int64_t> skip, const std::vector<std::pair<size_t, int>>& damage) {
  const Kernel* kernel = find_kernel(table_of(isa), name.c_str());
  if (!kernel) throw py::key_error("no kernel '" + name + "'");
  std::vector<TensorView> in, out;
  for (const auto& o : inputs) in.push_back(view_of(py::reinterpret_borrow<py::object>(o), false));
  for (const auto& o : outputs) out.push_back(view_of(py::reinterpret_borrow<py::object>(o), true));

  std::vector<std::string> names;
  std::vector<std::vector<int64_t>> ints;
  std::vector<std::vector<float>> floats;
  for (const auto& kv : attributes) {
    names.push_back(py::cast<std::string>(kv.first));
    ints.emplace_back();
    floats.emplace_back();
    for (const auto& v : py::cast<py::tuple>(kv.second))
      if (py::isinstance<py::float_>(v)) floats.back().push_back(py::cast<float>(v));
      else ints.back().push_back(py::cast<int64_t>(v));
  }
  std::vector<Attr> items;
  for (size_t k = 0; k < names.size(); ++k) {
    const bool f = !floats[k].empty();
    items.push_back({names[k].c_str(), f ? nullptr : ints[k].data(), f ? floats[k].data() : nullptr,
                     static_cast<int32_t>(f ? floats[k].size() : ints[k].size())});
  }

  std::vector<TensorView> in_ahead = in, out_ahead = out;
  for (size_t k = 0; k < in.size(); ++k) {
    bool constant = false;
    for (int c : constants) constant |= c == static_cast<int>(k);
    if (!constant) in_ahead[k].data = nullptr;
  }
  for (auto& v : out_ahead) v.data = nullptr;
  const Request request{{items.data(), static_cast<int32_t>(items.size())}, in_ahead.data(), out_ahead.data(),
                        static_cast<int32_t>(in.size()), static_cast<int32_t>(out.size())};
  Need need;
  Status status = kernel->query(request, &need);
  if (status != Status::ok) throw py::value_error(name + ": query: " + reason(status));
  Buffer params(need.params), packed(need.packed), scratch(need.scratch);
  status = kernel->prepare(request, params.p.get(), packed.p.get());
  if (status != Status::ok) throw py::value_error(name + ": prepare: " + reason(status));

  for (const auto& [offset, mask] : damage) {
    if (offset >= need.packed) throw py::value_error(name + ": damage beyond the " + std::to_string(need.packed) + " packed bytes");
    packed.p.get()[offset] = static_cast<char>(packed.p.get()[offset] ^ mask);
  }

  CheckSink sink;
  Checksum own, total;
  Fault armed{};
  if (!fault.is_none()) {
    armed = fault_of(py::cast<py::tuple>(fault));
    sink.fault = &armed;
  }
  sink.checksum = &own;
  BadIndex bad;
  Run run{params.p.get(), packed.p.get(), in.data(), out.data(), scratch.p.get(), 0, need.units,
          checks || audit ? &sink : nullptr, static_cast<int32_t>(in.size()), static_cast<int32_t>(out.size()),
          &bad};
  const auto ranges = [&](int64_t units, bool audits) {
    for (int k = 0; k < parts; ++k) {
      run.begin = units * k / parts, run.end = units * (k + 1) / parts;
      const int64_t end = run.end;
      if (!audits && run.begin < skip.second && skip.first < end) {
        run.end = std::max(run.begin, skip.first);
        if (run.begin < run.end) kernel->run(run);
        run.begin = std::min(end, skip.second), run.end = end;
      }
      if (run.begin < run.end) (audits ? kernel->audit : kernel->run)(run);
      if (audit) add(own, &total), own = Checksum{};
    }
  };
  {
    py::gil_scoped_release release;
    for (int k = 0; k < repeat; ++k) {
      total = Checksum{};
      ranges(need.units, false);
      if (audit) ranges(need.audit_units, true);
    }
  }
  py::dict result;
  result["checked"] = sink.checked;
  result["flags"] = sink.flags;
  result["first_index"] = sink.first_index;
  result["got"] = sink.got;
  result["expected"] = sink.expected;
  result["units"] = need.units;
  result["packed"] = need.packed;
  result["table"] = need.table;
  if (audit) result["checksum"] = checksum_of(total, need);
  if (bad.position >= 0) result["bad_index"] = py::make_tuple(bad.position, bad.value, bad.extent);
  return result;
}

py::list names(const std::string& isa) {
  py::list result;
  const KernelTable& t = table_of(isa);
  for (int32_t k = 0; k < t.count; ++k) result.append(t.kernels[k]->name);
  return result;
}

py::list isas() {
  const KernelTable* all[8];
  const int32_t n = supported_tables(all, 8);
  py::list result;
  for (int32_t k = 0; k < n; ++k) result.append(all[k]->isa);
  return result;
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "C++ kernels of edgerun, callable on NumPy arrays";
  m.def("call", &call, py::arg("name"), py::arg("inputs"), py::arg("attrs"), py::arg("outputs"),
        py::arg("constants") = std::vector<int>{}, py::arg("checks") = false, py::arg("isa") = "", py::arg("repeat") = 1,
        py::arg("fault") = py::none(), py::arg("audit") = false, py::arg("parts") = 1,
        py::arg("skip") = std::pair<int64_t, int64_t>{0, 0}, py::arg("damage") = std::vector<std::pair<size_t, int>>{});
  m.def("names", &names, py::arg("isa") = "");
  m.def("isas", &isas);
  m.def("isa", [] { return kernels().isa; });
}
