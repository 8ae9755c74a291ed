//! An echo server on the sockets themselves: the layer under the streams of http_by_hand.rs.
//!
//! ```sh
//! cargo run --package roundel --example echo_protocol 7000
//! echo hello | nc -N 127.0.0.1 7000
//! ```
//!
//! In Python this layer is callbacks, a Protocol; in Rust it is a task for each connection. A client
//! that does not read is noticed: writing to it waits, and so nothing is read from it meanwhile.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, io};

use roundel::{
    Builder, create_task,
    net::{TcpListener, TcpStream},
};

async fn echo(client: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match client.read(&mut buffer).await? {
            0 => return Ok(()),
            n => client.write_all(&buffer[..n]).await?,
        }
    }
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("{} {}", address.ip(), address.port());
    loop {
        let (client, _) = listener.accept().await?;
        // The task goes on without its handle. That a client has gone is its own affair.
        drop(create_task(echo(client)));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(7000), |port| port.parse())?;
    let mut runtime = Builder::new().cancel_at_ctrl_c(true).build()?;
    match runtime.run(serve(port)) {
        Err(roundel::Error::Cancelled) => Ok(()), // Ctrl-C
        outcome => Ok(outcome??),
    }
}
