//! What the benchmark awaits, on roundel's loop.

use std::{rc::Rc, time::Duration};

use pyo3::prelude::*;
use roundel_bridge::{into_awaitable, roundel};
use roundel::{Lock, net::TcpStream as Stream};

include!("../../shared/request.rs");

#[pyfunction]
fn ready(py: Python<'_>, number: u64) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move { PyResult::Ok(number) })
}

#[pyfunction]
fn timer(py: Python<'_>, micros: u64) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move {
        roundel::sleep(Duration::from_micros(micros)).await;
        PyResult::Ok(micros)
    })
}

type Connection = Lock<(Stream, Vec<u8>)>;

#[pyclass(unsendable, frozen)]
struct Client(Rc<Connection>);

async fn open(port: u16) -> std::io::Result<Connection> {
    let stream = Stream::connect(("127.0.0.1", port)).await?;
    Ok(Lock::new((stream, Vec::new())))
}

async fn get(connection: &Connection, key: &str) -> std::io::Result<String> {
    let mut turn = connection.acquire().await;
    let (stream, rest) = &mut *turn;
    request(stream, rest, &format!("GET {key}\n")).await
}

#[pyfunction]
fn connect(py: Python<'_>, port: u16) -> PyResult<Bound<'_, PyAny>> {
    into_awaitable(py, async move { open(port).await.map(|connection| Client(Rc::new(connection))) })
}

#[pymethods]
impl Client {
    fn get<'py>(&self, py: Python<'py>, key: String) -> PyResult<Bound<'py, PyAny>> {
        let connection = Rc::clone(&self.0);
        into_awaitable(py, async move { get(&connection, &key).await })
    }
}

/// The same without Python: tasks that do it so many times each.
#[pyfunction]
fn bare(row: &str, tasks: usize, times: usize, port: u16) {
    let row = row.to_owned();
    roundel::run(async move {
        let tasks = (0..tasks).map(|_| {
            let row = row.clone();
            async move {
                let connection = match row.as_str() {
                    "socket" => Some(open(port).await.expect("a server")),
                    _ => None,
                };
                for _ in 0..times {
                    match &connection {
                        Some(connection) => drop(get(connection, "tea").await.expect("an answer")),
                        None => roundel::sleep(Duration::from_millis(1)).await,
                    }
                }
            }
        });
        roundel::gather(tasks).await.expect("they end");
    });
}

#[pymodule]
fn with_roundel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    roundel_bridge::init(module.py())?;
    module.add_class::<Client>()?;
    for function in [
        wrap_pyfunction!(ready, module)?,
        wrap_pyfunction!(timer, module)?,
        wrap_pyfunction!(connect, module)?,
        wrap_pyfunction!(bare, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
