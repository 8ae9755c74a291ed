//! Owns: echo servers over TCP, one for each runtime. Leaves out: who asks them (benches/load.c) and
//! the floor below them (benches/floor.c).
//!
//! Each prints its port and echoes what it reads, up to 64 KiB at a time, until it is killed.

use std::rc::Rc;

const ROOM: usize = 64 * 1024;

pub fn serve(runtime: &str) {
    match runtime {
        "roundel" => roundel::run(async {
            let listener = roundel::net::TcpListener::bind(("127.0.0.1", 0)).await;
            let listener = listener.expect("a listener");
            println!("{}", listener.local_addr().expect("an address").port());
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                drop(roundel::create_task(async move {
                    let mut buffer = vec![0; ROOM];
                    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..n]).await.is_err() {
                            break;
                        }
                    }
                }));
            }
        }),
        "tokio" => {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
                let listener = listener.expect("a listener");
                println!("{}", listener.local_addr().expect("an address").port());
                loop {
                    let (mut stream, _) = listener.accept().await.expect("a connection");
                    stream.set_nodelay(true).expect("an option");
                    tokio::task::spawn_local(async move {
                        let mut buffer = vec![0; ROOM];
                        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                            if stream.write_all(&buffer[..n]).await.is_err() {
                                break;
                            }
                        }
                    });
                }
            });
        }
        "smol" => {
            use futures_lite::{AsyncReadExt, AsyncWriteExt};
            let executor = Rc::new(async_executor::LocalExecutor::new());
            let spawning = Rc::clone(&executor);
            async_io::block_on(executor.run(async move {
                let listener = async_net::TcpListener::bind(("127.0.0.1", 0)).await;
                let listener = listener.expect("a listener");
                println!("{}", listener.local_addr().expect("an address").port());
                loop {
                    let (mut stream, _) = listener.accept().await.expect("a connection");
                    stream.set_nodelay(true).expect("an option");
                    let echo = spawning.spawn(async move {
                        let mut buffer = vec![0; ROOM];
                        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                            if stream.write_all(&buffer[..n]).await.is_err() {
                                break;
                            }
                        }
                    });
                    echo.detach();
                }
            }));
        }
        "monoio" => {
            use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
            let runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build();
            runtime.expect("a runtime").block_on(async {
                let listener = monoio::net::TcpListener::bind(("127.0.0.1", 0));
                let listener = listener.expect("a listener");
                println!("{}", listener.local_addr().expect("an address").port());
                loop {
                    let (mut stream, _) = listener.accept().await.expect("a connection");
                    stream.set_nodelay(true).expect("an option");
                    monoio::spawn(async move {
                        let mut buffer = Vec::with_capacity(ROOM);
                        loop {
                            let (read, filled) = stream.read(buffer).await;
                            let Ok(1..) = read else { break };
                            let (written, kept) = stream.write_all(filled).await;
                            if written.is_err() {
                                break;
                            }
                            buffer = kept;
                            buffer.clear();
                        }
                    });
                }
            });
        }
        other => panic!("there is no runtime {other}"),
    }
}
