//! What the benchmark awaits, through pyo3-async-runtimes on tokio.

use std::{sync::Arc, time::Duration};

use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::{future_into_py, get_runtime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream as Stream,
    sync::Mutex,
};

include!("../../shared/request.rs");

#[pyfunction]
fn ready(py: Python<'_>, number: u64) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move { PyResult::Ok(number) })
}

#[pyfunction]
fn timer(py: Python<'_>, micros: u64) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move {
        tokio::time::sleep(Duration::from_micros(micros)).await;
        PyResult::Ok(micros)
    })
}

type Connection = Mutex<(Stream, Vec<u8>)>;

#[pyclass(frozen)]
struct Client(Arc<Connection>);

async fn open(port: u16) -> std::io::Result<Connection> {
    let stream = Stream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(Mutex::new((stream, Vec::new())))
}

async fn get(connection: &Connection, key: &str) -> std::io::Result<String> {
    let mut turn = connection.lock().await;
    let (stream, rest) = &mut *turn;
    request(stream, rest, &format!("GET {key}\n")).await
}

#[pyfunction]
fn connect(py: Python<'_>, port: u16) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move { Ok(Client(Arc::new(open(port).await?))) })
}

#[pymethods]
impl Client {
    fn get<'py>(&self, py: Python<'py>, key: String) -> PyResult<Bound<'py, PyAny>> {
        let connection = Arc::clone(&self.0);
        future_into_py(py, async move { Ok(get(&connection, &key).await?) })
    }
}

/// How many threads the runtime has: as many as there are processors if nobody says so before the first future.
#[pyfunction]
fn workers(count: usize) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().worker_threads(count);
    pyo3_async_runtimes::tokio::init(builder);
}

/// The same without Python: tasks that do it so many times each.
#[pyfunction]
fn bare(py: Python<'_>, row: &str, tasks: usize, times: usize, port: u16) {
    let row = row.to_owned();
    py.detach(|| {
        get_runtime().block_on(async move {
            let tasks: Vec<_> = (0..tasks)
                .map(|_| {
                    let row = row.clone();
                    tokio::spawn(async move {
                        let connection = match row.as_str() {
                            "socket" => Some(open(port).await.expect("a server")),
                            _ => None,
                        };
                        for _ in 0..times {
                            match &connection {
                                Some(connection) => drop(get(connection, "tea").await.expect("an answer")),
                                None => tokio::time::sleep(Duration::from_millis(1)).await,
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("they end");
            }
        });
    });
}

#[pymodule]
fn with_tokio(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Client>()?;
    for function in [
        wrap_pyfunction!(ready, module)?,
        wrap_pyfunction!(timer, module)?,
        wrap_pyfunction!(connect, module)?,
        wrap_pyfunction!(workers, module)?,
        wrap_pyfunction!(bare, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
