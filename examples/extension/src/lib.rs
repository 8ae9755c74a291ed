//! A key-value client in Rust, awaited from Python: the example of `roundel-bridge`.
//!
//! ```python
//! import kv, roundel
//!
//! async def main():
//!     client = await kv.connect("127.0.0.1", 6380)
//!     await client.set("tea", "green")
//!     print(await client.get("tea"))
//!
//! roundel.run(main())
//! ```
//!
//! The protocol is lines: `SET key value` is answered by `OK`, `GET key` by `VALUE value` or `NONE`. What is in `wire` knows
//! nothing of Python, and what is here nothing of sockets.

#![deny(unsafe_code)]
#![allow(missing_docs, reason = "what Python sees has docstrings")]

mod wire;

use std::{rc::Rc, time::Duration};

use pyo3::{
    exceptions::{PyConnectionError, PyKeyError, PyTimeoutError, PyValueError},
    prelude::*,
};
use roundel_bridge::{into_awaitable_named, roundel};

use wire::{Connection, Failure};

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => PyConnectionError::new_err(error.to_string()),
            Failure::Answer(line) => PyValueError::new_err(format!("the server says {line:?}")),
            Failure::Broken => PyConnectionError::new_err(
                "an earlier call was cancelled in the middle of its answer",
            ),
        }
    }
}

/// A connection to a server. Calls of several tasks take turns.
///
/// It belongs to the thread that made it: what is inside need not be `Send`.
#[pyclass(unsendable, frozen)]
struct Client {
    connection: Rc<Connection>,
}

/// Connect to a server: a coroutine that returns a Client.
#[pyfunction]
fn connect(py: Python<'_>, host: String, port: u16) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable_named(py, "kv.connect", async move {
        let connection = Connection::open(&host, port).await?;
        Ok::<_, Failure>(Client {
            connection: Rc::new(connection),
        })
    })
}

#[pymethods]
impl Client {
    /// The value of a key. KeyError if there is none, ConnectionError if the server has gone.
    fn get<'py>(&self, py: Python<'py>, key: String) -> PyResult<Bound<'py, PyAny>> {
        let connection = Rc::clone(&self.connection);
        into_awaitable_named(py, "Client.get", async move {
            match connection.get(&key).await? {
                Some(value) => Ok(value),
                None => Err(PyKeyError::new_err(key)),
            }
        })
    }

    /// Set the value of a key.
    fn set<'py>(&self, py: Python<'py>, key: String, value: String) -> PyResult<Bound<'py, PyAny>> {
        let connection = Rc::clone(&self.connection);
        into_awaitable_named(py, "Client.set", async move {
            connection.set(&key, &value).await
        })
    }

    /// The value that was last got or set here, without asking the server; KeyError if there is none.
    fn cached<'py>(&self, py: Python<'py>, key: String) -> PyResult<Bound<'py, PyAny>> {
        let connection = Rc::clone(&self.connection);
        into_awaitable_named(py, "Client.cached", async move {
            connection
                .cached(&key)
                .ok_or_else(|| PyKeyError::new_err(key))
        })
    }

    /// As get(), and TimeoutError if the answer takes longer than so many seconds.
    fn get_within<'py>(
        &self,
        py: Python<'py>,
        key: String,
        seconds: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let connection = Rc::clone(&self.connection);
        let limit = Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        into_awaitable_named(py, "Client.get_within", async move {
            match roundel::wait_for(connection.get(&key), limit).await {
                Ok(Ok(Some(value))) => Ok(value),
                Ok(Ok(None)) => Err(PyKeyError::new_err(key)),
                Ok(Err(failure)) => Err(failure.into()),
                Err(_) => Err(PyTimeoutError::new_err(format!("no answer in {seconds} s"))),
            }
        })
    }
}

/// Wait so many seconds in Rust.
#[pyfunction]
fn pause(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyAny>> {
    let delay = Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    into_awaitable_named(py, "kv.pause", async move {
        roundel::sleep(delay).await;
        PyResult::Ok(())
    })
}

/// A key-value client in Rust.
#[pymodule]
fn kv(module: &Bound<'_, PyModule>) -> PyResult<()> {
    roundel_bridge::init(module.py())?;
    module.add_class::<Client>()?;
    module.add_function(wrap_pyfunction!(connect, module)?)?;
    module.add_function(wrap_pyfunction!(pause, module)?)
}
