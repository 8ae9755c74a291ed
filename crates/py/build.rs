//! Hands the interpreter's version on to the source, as `cfg(Py_3_12)` and so on; refuses an interpreter without a lock,
//! which everything in `ffi` relies on.

fn main() {
    let interpreter = pyo3_build_config::get();
    if interpreter.target_abi().kind().is_free_threaded() {
        eprintln!("error: roundel does not support free-threaded Python");
        std::process::exit(1);
    }
    pyo3_build_config::use_pyo3_cfgs();
}
