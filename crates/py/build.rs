//! Hands the interpreter's version on to the source, as `cfg(Py_3_12)` and so on.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
