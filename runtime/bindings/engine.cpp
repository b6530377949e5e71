// edgerun._engine: the engine's C++ classes for Python. Arguments are checked here; runs happen without the GIL.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "finite.h"
#include "session.h"
#include "topology.h"

namespace py = pybind11;
using namespace edgerun;

namespace {

py::dtype dtype_of(DType t) {
  if (t == DType::bf16) return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
  static const char* const names[] = {"<f4", "<f8", "<f2", "", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "|b1"};
  return py::dtype(std::string(names[static_cast<size_t>(t)]));
}

std::string shape_text(const std::vector<py::ssize_t>& dims) {
  std::string s = "[";
  for (size_t k = 0; k < dims.size(); ++k) s += (k ? ", " : "") + std::to_string(dims[k]);
  return s + "]";
}

struct PortSpec {
  std::string name;
  py::dtype dtype;
  std::vector<py::ssize_t> shape, strides;
  DType type;
  size_t elements;
  explicit PortSpec(const Plan& plan, const Port& port) : name(port.name), dtype(dtype_of(plan.slots[port.slot].view.dtype)) {
    const TensorView& v = plan.slots[port.slot].view;
    type = v.dtype;
    elements = static_cast<size_t>(v.elements());
    shape.assign(v.dims, v.dims + v.rank);
    strides.resize(shape.size());
    py::ssize_t step = static_cast<py::ssize_t>(size_of(v.dtype));
    for (size_t k = shape.size(); k-- > 0;) {
      strides[k] = step;
      step *= shape[k];
    }
  }
};

py::object items_of(const py::sequence& feeds) {  // a list or tuple
  PyObject* items = PySequence_Fast(feeds.ptr(), "feeds must be a sequence of arrays");
  if (!items) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(items);
}

// A loaded plan; keeps the Python buffer alive whose constants it reads in place.
struct PyPlan {
  std::shared_ptr<const Plan> plan;
  std::vector<PortSpec> inputs, outputs;

  explicit PyPlan(const py::buffer& data) {
    struct Held {
      py::buffer_info info;
      std::unique_ptr<Plan> plan;
    };
    auto held = std::unique_ptr<Held, void (*)(Held*)>(new Held{data.request(), nullptr}, [](Held* h) {
      const py::gil_scoped_acquire gil;
      delete h;
    });
    const auto bytes = static_cast<size_t>(held->info.size * held->info.itemsize);
    {
      const py::gil_scoped_release release;
      held->plan = read_plan(held->info.ptr, bytes, true);
      held->plan->writable |= !held->info.readonly;
      prepare_plan(*held->plan);
    }
    const Plan* p = held->plan.get();
    plan = std::shared_ptr<const Plan>(std::shared_ptr<Held>(std::move(held)), p);
    for (const Port& port : p->inputs) inputs.emplace_back(*p, port);
    for (const Port& port : p->outputs) outputs.emplace_back(*p, port);
  }
};

PyObject*& fault_type() {  // _engine.EngineFault
  static PyObject* type = nullptr;
  return type;
}

struct FieldNames {  // of edgerun.executors.base.RawRun, made once: building them costs more than a small step
  py::str outputs{"outputs"}, exit_index{"exit_index"}, n_exits{"n_exits"}, difficulty{"difficulty"}, scores{"scores"},
      classes{"classes"}, steps_run{"steps_run"}, values_checked{"values_checked"}, findings{"findings"}, elapsed_ns{"elapsed_ns"}, reruns{"reruns"};
};

struct PySession {
  std::shared_ptr<PyPlan> plan;
  Session session;
  std::vector<const void*> in;   // guarded by session.mutex()
  std::vector<void*> out;
  FieldNames names;

  PySession(std::shared_ptr<PyPlan> p, int threads, bool checks, int spin_us, int64_t timeout_ns, int64_t scrub_bytes, int reaction)
      : plan(std::move(p)),
        session(plan->plan, SessionOptions{threads, checks, spin_us, timeout_ns, scrub_bytes, static_cast<Reaction>(reaction)}),
        in(plan->inputs.size()), out(plan->outputs.size()) {}

  // The array's data, after checking that it is exactly what the plan wants; brief: but for a 1 in front of a vector, which it may lack.
  const void* feed(size_t k, PyObject* o, bool brief = false) const {
    const PortSpec& spec = plan->inputs[k];
    const auto fail = [&](const std::string& what) { throw py::value_error("input '" + spec.name + "': " + what); };
    if (!py::isinstance<py::array>(o)) fail("expected a NumPy array, found " + std::string(Py_TYPE(o)->tp_name));
    const auto* a = py::detail::array_proxy(o);
    const bool same_type = a->descr == spec.dtype.ptr() || py::reinterpret_borrow<py::dtype>(a->descr).equal(spec.dtype);
    if (!same_type)
      fail("expected dtype " + py::str(spec.dtype).cast<std::string>() + ", found " +
           py::str(py::handle(a->descr)).cast<std::string>() + "; convert it first");
    const auto rank = static_cast<size_t>(a->nd);
    const size_t lacks = brief && rank == 1 && spec.shape.size() == 2 ? 1 : 0;
    bool same_shape = rank + lacks == spec.shape.size();
    for (size_t d = 0; same_shape && d < spec.shape.size(); ++d) same_shape = spec.shape[d] == (d < lacks ? 1 : a->dimensions[d - lacks]);
    if (!same_shape)
      fail("expected shape " + shape_text(spec.shape) + ", found " +
           shape_text(std::vector<py::ssize_t>(a->dimensions, a->dimensions + rank)) + "; reshape it, or plan the model for this shape");
    if (!(a->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_) || !(a->flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
      fail("expected a C-contiguous, aligned array; use numpy.ascontiguousarray");
    return a->data;
  }

  py::array allocate(size_t k) const {
    const PortSpec& spec = plan->outputs[k];
    return py::array(spec.dtype, spec.shape, spec.strides);
  }

  void check_count(size_t n) const {
    if (n == plan->inputs.size()) return;
    throw py::value_error("expected " + std::to_string(plan->inputs.size()) + " inputs, found " + std::to_string(n));
  }

  void raise(const RunError& e) const {
    if (e.step < 0) return;
    const Step& s = plan->plan->steps[static_cast<size_t>(e.step)];
    if (e.late) {
      PyErr_SetString(PyExc_TimeoutError, ("operator " + s.op_name + ", node '" + s.node + "'").c_str());
      throw py::error_already_set();
    }
    if (e.fault) {  // EngineFault(message, findings)
      PyErr_SetObject(fault_type(), py::make_tuple("operator " + s.op_name + ", node '" + s.node + "'", findings()).ptr());
      throw py::error_already_set();
    }
    throw py::index_error("operator " + s.op_name + ", node '" + s.node + "': expected indices in [" + std::to_string(-e.extent) + ", " +
                          std::to_string(e.extent - 1) + "], found " + std::to_string(e.value) + "; check the indices that were fed");
  }

  // What `result` tells; brief: the outputs alone, as a tuple, where there is nothing else to tell: no exit, no finding; and the GIL is
  // kept, as giving it up and taking it again costs a microsecond where caches are cold. finite: none, and no run, where an input holds
  // NaN or infinity.
  py::object run(const py::sequence& feeds, bool brief, bool finite) {
    const size_t n_out = out.size();
    const py::object objects = items_of(feeds);
    check_count(static_cast<size_t>(PySequence_Fast_GET_SIZE(objects.ptr())));
    PyObject** items = PySequence_Fast_ITEMS(objects.ptr());
    std::unique_lock<std::mutex> lock(session.mutex(), std::try_to_lock);
    if (!lock) {
      const py::gil_scoped_release release;
      lock.lock();
    }
    py::tuple outputs(n_out);
    for (size_t k = 0; k < in.size(); ++k) in[k] = feed(k, items[k], brief);
    for (size_t k = 0; finite && k < in.size(); ++k)
      if (!all_finite(plan->inputs[k].type, in[k], plan->inputs[k].elements)) return py::none();
    for (size_t k = 0; k < n_out; ++k) {
      py::array a = allocate(k);
      out[k] = py::detail::array_proxy(a.ptr())->data;
      PyTuple_SET_ITEM(outputs.ptr(), static_cast<py::ssize_t>(k), a.release().ptr());
    }
    RunError error;
    if (brief) {
      error = session.run(in.data(), out.data());
    } else {
      const py::gil_scoped_release release;
      error = session.run(in.data(), out.data());
    }
    raise(error);
    for (size_t k = 0; k < n_out; ++k)
      if (!session.output_ready(k)) outputs[k] = py::none();
    if (brief && session.findings().empty() && session.info().reruns == 0 && plan->plan->exits.empty()) return std::move(outputs);
    return result(std::move(outputs));
  }

  py::tuple findings() const {
    py::tuple all(session.findings().size());
    for (size_t k = 0; k < all.size(); ++k) {
      const EngineFinding& f = session.findings()[k];
      all[k] = py::make_tuple(f.step, f.flags, f.index, f.expected, f.got, f.bound, static_cast<int>(f.action), f.permanent);
    }
    return all;
  }

  // What the last run did, keyed by the fields of RawRun; `findings` are still bare tuples.
  py::dict result(py::tuple outputs) const {
    const RunInfo& info = session.info();
    const auto reached = session.scores().size();
    py::tuple scores(reached), classes(reached);
    for (size_t k = 0; k < reached; ++k) {
      scores[k] = session.scores()[k];
      classes[k] = session.classes()[k];
    }
    py::object difficulty = py::none();
    if (info.has_difficulty)
      difficulty = py::make_tuple(info.difficulty[0], info.difficulty[1], info.difficulty[2], info.difficulty[3]);
    py::dict d;
    d[names.outputs] = std::move(outputs);
    d[names.exit_index] = info.exit_index;
    d[names.n_exits] = plan->plan->exits.size();
    d[names.difficulty] = std::move(difficulty);
    d[names.scores] = std::move(scores);
    d[names.classes] = std::move(classes);
    d[names.steps_run] = info.steps_run;
    d[names.values_checked] = info.values_checked;
    d[names.findings] = findings();
    d[names.elapsed_ns] = info.elapsed_ns;
    d[names.reruns] = info.reruns;
    return d;
  }

  template <class Body>
  void with_inputs(const py::sequence& feeds, const Body& body) {
    const py::object objects = items_of(feeds);
    check_count(static_cast<size_t>(PySequence_Fast_GET_SIZE(objects.ptr())));
    std::vector<const void*> pointers;
    for (size_t k = 0; k < in.size(); ++k) pointers.push_back(feed(k, PySequence_Fast_ITEMS(objects.ptr())[k]));
    RunError error;
    {
      const py::gil_scoped_release release;
      const std::lock_guard<std::mutex> lock(session.mutex());
      error = body(pointers.data());
    }
    raise(error);
  }

  py::tuple profile(const py::sequence& feeds, int repeats) {
    std::vector<int64_t> ns(plan->plan->steps.size());
    with_inputs(feeds, [&](const void* const* inputs) {
      RunError error;
      for (int k = 0; k < repeats && error.step < 0; ++k) error = session.profile(inputs, nullptr, ns.data());
      return error;
    });
    py::tuple result(ns.size());
    for (size_t k = 0; k < ns.size(); ++k) result[k] = repeats > 0 ? static_cast<double>(ns[k]) / repeats : 0.0;
    return result;
  }

  void tune(const py::sequence& feeds, int rounds) {
    with_inputs(feeds, [&](const void* const* inputs) { return session.tune(inputs, rounds); });
  }

  // site: index into Site; mode: of Fault::Mode. Returns what is wrong with the fault, "" when it is armed.
  std::string arm(int site, int64_t step, int64_t index, uint64_t mask, int mode, int runs) {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(session.mutex());
    return session.arm({static_cast<Site>(site), step, index, mask, static_cast<Fault::Mode>(mode), runs});
  }

  void heal() {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(session.mutex());
    session.heal();
  }

  std::vector<std::vector<int64_t>> sites() const {
    std::vector<std::vector<int64_t>> all;
    for (size_t k = 0; k < plan->plan->steps.size(); ++k) {
      const SiteSizes s = session.sites(k);
      all.emplace_back(s.size, s.size + kSites);
    }
    return all;
  }

  std::string capture(int64_t step) {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(session.mutex());
    return session.capture(step);
  }

  py::bytes captured() {
    std::vector<char> bytes;
    {
      const py::gil_scoped_release release;
      const std::lock_guard<std::mutex> lock(session.mutex());
      bytes = session.captured();
    }
    return py::bytes(bytes.data(), bytes.size());
  }

  py::tuple scrub() {
    std::unique_lock<std::mutex> lock(session.mutex(), std::defer_lock);
    {
      const py::gil_scoped_release release;
      lock.lock();
      session.scrub();
    }
    return findings();
  }

  // "sound", "restored" or "lost"; copy: the plan's bytes once more, or none.
  std::string restore(size_t step, const py::object& copy) {
    py::buffer_info info;
    if (!copy.is_none()) info = py::buffer(copy).request();
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(session.mutex());
    if (step >= plan->plan->steps.size()) throw std::out_of_range("restore: no step " + std::to_string(step));
    const Repair r = info.ptr ? restore_constants(*plan->plan, step, info.ptr, static_cast<size_t>(info.size * info.itemsize))
                              : restore_prepared(*plan->plan, step);
    return r == Repair::sound ? "sound" : r == Repair::restored ? "restored" : "lost";
  }

  void set_coefficients(const std::vector<std::vector<double>>& rows) {
    size_t width = 0;
    for (const auto& row : rows) width = std::max(width, row.size());
    std::string defect;
    {
      const py::gil_scoped_release release;
      const std::lock_guard<std::mutex> lock(session.mutex());
      Policy p = session.policy();
      p.coeff.clear();
      p.coeff_rows = width ? static_cast<uint32_t>(rows.size()) : 0;
      for (const auto& row : rows) {
        p.coeff.insert(p.coeff.end(), row.begin(), row.end());
        p.coeff.insert(p.coeff.end(), width - row.size(), 1.0);  // a missing factor means 1
      }
      defect = session.set_policy(std::move(p));
    }
    if (!defect.empty()) throw py::value_error(defect);
  }

  std::vector<int> step_threads() const {
    std::vector<int> result;
    for (size_t k = 0; k < plan->plan->steps.size(); ++k) result.push_back(session.step_threads(k));
    return result;
  }
};

}  // namespace

PYBIND11_MODULE(_engine, m) {
  m.doc() = "The C++ engine of edgerun; use edgerun.executors.engine";
#ifdef __clang__
  m.attr("COMPILER") = "clang " __clang_version__;
#else
  m.attr("COMPILER") = "gcc " __VERSION__;
#endif
  static py::exception<PlanError> plan_error(m, "EnginePlanError", PyExc_ValueError);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const PlanError& e) {
      PyObject* text = PyUnicode_DecodeUTF8(e.what(), static_cast<Py_ssize_t>(std::strlen(e.what())), "replace");  // names in a damaged plan
      if (text) PyErr_SetObject(plan_error.ptr(), text);
      Py_XDECREF(text);
    }
  });
  py::list sites;
  for (int k = 0; k < kSites; ++k) sites.append(name_of(static_cast<Site>(k)));
  m.attr("SITES") = py::tuple(sites);
  fault_type() = PyErr_NewException("edgerun._engine.EngineFault", PyExc_Exception, nullptr);
  m.add_object("EngineFault", py::reinterpret_borrow<py::object>(fault_type()));
  m.def("isa", [] { return kernels().isa; }, "Instruction set of the kernels in use.");
  m.def("is_finite", &edgerun::is_finite, py::arg("array"), "Whether an array holds neither NaN nor infinity; None where it is no plain float array.");
  m.def("default_threads", &default_threads, "Physical cores this process may use.");
  m.def("kernel_names", [] {
    std::vector<std::string> names;
    for (int32_t k = 0; k < kernels().count; ++k) names.emplace_back(kernels().kernels[k]->name);
    return names;
  });
  py::class_<PyPlan, std::shared_ptr<PyPlan>>(m, "Plan").def(py::init<py::buffer>(), py::arg("data"));
  py::class_<PySession>(m, "Session")
      .def(py::init<std::shared_ptr<PyPlan>, int, bool, int, int64_t, int64_t, int>(), py::arg("plan"), py::arg("threads") = 0,
           py::arg("checks") = true, py::arg("spin_us") = 30, py::arg("timeout_ns") = 0, py::arg("scrub_bytes") = 0,
           py::arg("reaction") = 0)
      .def("run", &PySession::run, py::arg("feeds"), py::arg("brief") = false, py::arg("finite") = false)
      .def("profile", &PySession::profile, py::arg("feeds"), py::arg("repeats") = 10)
      .def("tune", &PySession::tune, py::arg("feeds"), py::arg("rounds") = 5)
      .def("arm", &PySession::arm, py::arg("site"), py::arg("step"), py::arg("index"), py::arg("mask"), py::arg("mode"), py::arg("runs"))
      .def("heal", &PySession::heal)
      .def("sites", &PySession::sites)
      .def("capture", &PySession::capture, py::arg("step"))
      .def("captured", &PySession::captured)
      .def("scrub", &PySession::scrub)
      .def("restore", &PySession::restore, py::arg("step"), py::arg("copy") = py::none())
      .def_property_readonly("memory", [](const PySession& s) { return s.session.memory(); })
      .def_property_readonly("scrub_runs", [](const PySession& s) { return s.session.scrub_runs(); })
      .def("set_coefficients", &PySession::set_coefficients, py::arg("coeff"))
      .def_property_readonly("step_threads", &PySession::step_threads)
      .def_property_readonly("threads", [](const PySession& s) { return s.session.threads(); });
}
