// edgerun_kernels._native: call any C++ kernel on NumPy arrays. Used by tests and benchmarks, not by the engine.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <memory>
#include <string>
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

// Runs one kernel. `constants` are indices of inputs whose data the kernel may see ahead of time (weights).
py::dict call(const std::string& name, const py::list& inputs, const py::dict& attributes, const py::list& outputs,
              const std::vector<int>& constants, bool checks, const std::string& isa, int repeat, py::object fault) {
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

  CheckSink sink;
  Fault armed{};
  if (!fault.is_none()) {
    auto t = py::cast<py::tuple>(fault);
    armed = {py::cast<int64_t>(t[0]), py::cast<uint32_t>(t[1])};
    sink.fault = &armed;
  }
  BadIndex bad;
  const Run run{params.p.get(), packed.p.get(), in.data(), out.data(), scratch.p.get(), 0, need.units,
                checks ? &sink : nullptr, static_cast<int32_t>(in.size()), static_cast<int32_t>(out.size()),
                &bad};
  {
    py::gil_scoped_release release;
    for (int k = 0; k < repeat; ++k) kernel->run(run);
  }
  py::dict result;
  result["checked"] = sink.checked;
  result["flags"] = sink.flags;
  result["first_index"] = sink.first_index;
  result["got"] = sink.got;
  result["expected"] = sink.expected;
  result["units"] = need.units;
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
        py::arg("fault") = py::none());
  m.def("names", &names, py::arg("isa") = "");
  m.def("isas", &isas);
  m.def("isa", [] { return kernels().isa; });
}
