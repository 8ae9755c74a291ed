//! A web server in one async function, over asyncio's streams and nothing else.
//!
//! ```sh
//! cargo run --package roundel --example http_by_hand 8080
//! curl -i http://127.0.0.1:8080/some/page
//! curl --data 'hello' http://127.0.0.1:8080/echo
//! ```
//!
//! Knows as much of HTTP as curl needs: a request line, headers, a body of known length, and that a
//! connection stays open for the next request. Port 0 takes a free port; the first line says which.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, io};

use roundel::{
    Builder,
    net::{ReadError, StreamReader, StreamWriter, start_server},
};

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn bad() -> ReadError {
    io::Error::from(io::ErrorKind::InvalidData).into()
}

/// The next request, or None when the client is done.
async fn read_request(reader: &mut StreamReader) -> Result<Option<Request>, ReadError> {
    let line = String::from_utf8_lossy(&reader.readline().await?).into_owned();
    if line.is_empty() {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(path), Some(_version)) = (words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    let mut length = 0;
    loop {
        let header = reader.readline().await?;
        if header == b"\r\n" || header.is_empty() {
            break;
        }
        let header = String::from_utf8_lossy(&header);
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| bad())?;
        }
    }
    Ok(Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        body: reader.readexactly(length).await?,
    }))
}

async fn answer(reader: &mut StreamReader, writer: &StreamWriter) -> Result<(), ReadError> {
    while let Some(Request { method, path, body }) = read_request(reader).await? {
        let text = match path.as_str() {
            "/echo" => body,
            _ => format!("{method} {path}\n").into_bytes(),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        writer.write(&[head.as_bytes(), &text].concat());
        writer.drain().await?;
    }
    Ok(())
}

async fn serve(port: u16) -> io::Result<()> {
    let handler = async |mut reader: StreamReader, writer: StreamWriter| {
        if let Err(error) = answer(&mut reader, &writer).await {
            eprintln!("dropped a client: {error}");
        }
    };
    let server = start_server(handler, ("127.0.0.1", port)).await?;
    if let Some(address) = server.local_addr() {
        println!("http://{address}");
    }
    server.serve_forever().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    let mut runtime = Builder::new().cancel_at_ctrl_c(true).build()?;
    match runtime.run(serve(port)) {
        Err(roundel::Error::Cancelled) => Ok(()), // Ctrl-C
        outcome => Ok(outcome??),
    }
}
