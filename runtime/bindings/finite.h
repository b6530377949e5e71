// Whether arrays hold neither NaN nor infinity, for callers that would otherwise make an array of flags: 0 * x is NaN where x is neither.
#pragma once
#include <pybind11/numpy.h>

#include <cstddef>

#include "session.h"

namespace edgerun {

template <class T>
bool all_finite(const T* x, size_t n) {
  constexpr size_t kLanes = 16;  // sums that do not wait for one another
  T sums[kLanes] = {}, total = 0;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (size_t k = 0; k < kLanes; ++k) sums[k] += x[i + k] * T(0);
  for (; i < n; ++i) total += x[i] * T(0);
  for (const T s : sums) total += s;
  return total == T(0);
}

inline bool all_finite(DType type, const void* data, size_t n) {
  if (type == DType::f32) return all_finite(static_cast<const float*>(data), n);
  return type != DType::f64 || all_finite(static_cast<const double*>(data), n);
}

// True or False for float32 and float64 arrays that lie in one piece, None for anything else.
inline pybind11::object is_finite(const pybind11::handle& object) {
  namespace py = pybind11;
  static PyObject* const single = py::dtype::of<float>().release().ptr();
  static PyObject* const wide = py::dtype::of<double>().release().ptr();
  if (!py::isinstance<py::array>(object)) return py::none();
  const auto* a = py::detail::array_proxy(object.ptr());
  constexpr int kPlain = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((a->flags & kPlain) != kPlain || (a->descr != single && a->descr != wide)) return py::none();
  size_t n = 1;
  for (int d = 0; d < a->nd; ++d) n *= static_cast<size_t>(a->dimensions[d]);
  const auto look = [&] {
    return a->descr == single ? all_finite(reinterpret_cast<const float*>(a->data), n) : all_finite(reinterpret_cast<const double*>(a->data), n);
  };
  if (n < 1 << 18) return py::bool_(look());
  bool found;
  {
    const py::gil_scoped_release release;  // long enough to let others run
    found = look();
  }
  return py::bool_(found);
}

}  // namespace edgerun
