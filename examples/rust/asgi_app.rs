//! A web application without a framework: a service for hyper, which is to Rust's servers what an
//! ASGI application is to Python's.
//!
//! ```sh
//! cargo run --package roundel --example asgi_app 8000
//! curl http://127.0.0.1:8000/slow
//! ```
//!
//! hyper knows tokio's traits, which sockets have by the feature `compat`. There is no tokio that
//! runs: the task of each connection is on the loop of `roundel`.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, io, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use roundel::{Builder, create_task, net::TcpListener, sleep};

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let length = request.into_body().collect().await?.to_bytes().len();
    if path == "/slow" {
        sleep(Duration::from_millis(50)).await;
    }
    let text = format!("{path}: {length} bytes of body, on roundel\n");
    let mut response = Response::new(Full::from(text));
    let kind = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept().await?;
        drop(create_task(async move {
            let serving =
                http1::Builder::new().serve_connection(TokioIo::new(client), service_fn(respond));
            if let Err(error) = serving.await {
                eprintln!("dropped a client: {error}");
            }
        }));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(8000), |port| port.parse())?;
    let mut runtime = Builder::new().cancel_at_ctrl_c(true).build()?;
    match runtime.run(serve(port)) {
        Err(roundel::Error::Cancelled) => Ok(()), // Ctrl-C
        outcome => Ok(outcome??),
    }
}
