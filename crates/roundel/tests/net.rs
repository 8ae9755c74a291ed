//! Sockets and streams over loopback, against the system itself.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    io::{ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::AsyncReadExt as _;
use roundel::{
    create_task, gather,
    net::{
        ReadError, StreamReader, StreamWriter, TcpListener, TcpStream, UdpSocket, UnixStream,
        open_connection, start_server,
    },
    run, sleep,
};

const HERE: (&str, u16) = ("127.0.0.1", 0);

async fn turn() {
    sleep(Duration::ZERO).await;
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(HERE).await.unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap());
    let one = one.await.unwrap();
    (one, listener.accept().await.unwrap().0)
}

fn streams(stream: UnixStream) -> (StreamReader, StreamWriter) {
    stream.into()
}

/// Some bytes, none like its neighbours.
fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_peers_end_that_comes_with_its_last_bytes_is_seen() {
    run(async {
        let (ours, theirs) = connected().await;
        let reader = create_task(async move {
            let mut buffer = [0; 100];
            let mut sizes = Vec::new();
            loop {
                let n = ours.read(&mut buffer).await.unwrap();
                sizes.push(n);
                if n == 0 {
                    return sizes;
                }
            }
        });
        turn().await;
        // Both are there before the reader is told of either.
        theirs.write_all(b"tea").await.unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.await.unwrap(), [3, 0]);
    });
}

#[test]
fn much_goes_both_ways_at_once_through_one_connection() {
    run(async {
        let much = Rc::new(pattern(3_000_000));
        let (one, other) = connected().await;
        let ends = [Rc::new(one), Rc::new(other)];
        let tasks = ends.into_iter().flat_map(|end| {
            let (reading, sent, expected) = (Rc::clone(&end), Rc::clone(&much), Rc::clone(&much));
            let write = create_task(async move {
                end.write_all(&sent).await.unwrap();
                end.shutdown(Shutdown::Write).unwrap();
            });
            let read = create_task(async move {
                let mut got = Vec::new();
                (&*reading).read_to_end(&mut got).await.unwrap();
                assert!(got == *expected, "{} bytes", got.len());
            });
            [write, read]
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_report_that_nobody_waits_for_does_not_keep_the_loop_awake() {
    run(async {
        let (ours, theirs) = connected().await;
        let ours = Rc::new(ours);
        // It is watched from now on.
        let waits = create_task({
            let ours = Rc::clone(&ours);
            async move { ours.read(&mut [0; 1]).await }
        });
        turn().await;
        waits.cancel();
        assert!(waits.await.is_err());
        theirs.write_all(b"tea").await.unwrap();
        for _ in 0..10 {
            turn().await;
        }
        let mut buffer = [0; 10];
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 3);
        // And it is watched again.
        let waits = create_task({
            let ours = Rc::clone(&ours);
            async move { ours.read(&mut [0; 10]).await.unwrap() }
        });
        turn().await;
        theirs.write_all(b"more").await.unwrap();
        assert_eq!(waits.await.unwrap(), 4);
    });
}

#[test]
fn several_tasks_wait_at_one_listener_and_none_is_forgotten() {
    run(async {
        let listener = Rc::new(TcpListener::bind(HERE).await.unwrap());
        let address = listener.local_addr().unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let listener = Rc::clone(&listener);
                create_task(async move { listener.accept().await.unwrap() })
            })
            .collect();
        turn().await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        for task in waiting {
            task.await.unwrap();
        }
    });
}

#[test]
fn one_who_always_finds_something_lets_the_others_run() {
    run(async {
        let (ours, theirs) = connected().await;
        theirs.write_all(&[1; 1000]).await.unwrap();
        let others = Rc::new(Cell::new(0));
        let counting = Rc::clone(&others);
        let counts = create_task(async move {
            loop {
                counting.set(counting.get() + 1);
                turn().await;
            }
        });
        for _ in 0..1000 {
            assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 1);
        }
        assert!(others.get() > 10, "{}", others.get());
        counts.cancel();
    });
}

#[test]
fn what_cannot_be_connected_to_is_an_error() {
    run(async {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(TcpStream::connect(("name.invalid", 80)).await.is_err());
    });
    roundel::sim::run(7, async {
        let error = TcpListener::bind(HERE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn a_closed_socket_s_number_is_another_s_without_confusion() {
    run(async {
        for _ in 0..50 {
            let (ours, theirs) = connected().await;
            let reads = create_task(async move {
                let mut buffer = [0; 3];
                ours.read(&mut buffer).await.unwrap();
                buffer
            });
            turn().await;
            theirs.write_all(b"tea").await.unwrap();
            assert_eq!(&reads.await.unwrap(), b"tea");
        }
    });
}

#[test]
fn datagrams_keep_their_borders_and_say_from_where_they_come() {
    run(async {
        let one = UdpSocket::bind(HERE).await.unwrap();
        let other = Rc::new(
            UdpSocket::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0))
                .await
                .unwrap(),
        );
        let receiving = Rc::clone(&other);
        let received = create_task(async move {
            let mut buffer = [0; 100];
            let mut all = Vec::new();
            for _ in 0..2 {
                let (n, from) = receiving.recv_from(&mut buffer).await.unwrap();
                all.push((buffer[..n].to_vec(), from));
            }
            all
        });
        turn().await;
        let here = one.local_addr().unwrap();
        for text in [&b"tea"[..], b"and cake"] {
            one.send_to(text, other.local_addr().unwrap())
                .await
                .unwrap();
        }
        let expected = [(b"tea".to_vec(), here), (b"and cake".to_vec(), here)];
        assert_eq!(received.await.unwrap(), expected);
    });
}

#[test]
fn a_reader_gives_what_it_is_asked_for_in_whatever_pieces_it_came() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, _writer) = streams(ours);
        let sends = create_task(async move {
            for piece in [&b"li"[..], b"ne\r", b"\nexac", b"tly", b"|", b"rest"] {
                theirs.write_all(piece).await.unwrap();
                turn().await;
                turn().await;
            }
        });
        assert_eq!(reader.readuntil(b"\r\n").await.unwrap(), b"line\r\n");
        assert_eq!(reader.readexactly(7).await.unwrap(), b"exactly");
        assert_eq!(reader.readuntil(b"|").await.unwrap(), b"|");
        match reader.readexactly(10).await {
            Err(ReadError::Incomplete(read)) => {
                assert_eq!(read.partial, b"rest");
                let text = "4 bytes read on a total of 10 expected bytes";
                assert_eq!(read.to_string(), text);
            }
            other => panic!("{other:?}"),
        }
        assert!(reader.at_eof());
        sends.await.unwrap();
    });
}

#[test]
fn a_line_beyond_the_limit_is_dropped_and_the_next_one_is_read() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, _writer) = streams(ours);
        let mut reader = reader.with_limit(8);
        theirs.write_all(b"much too long\nshort\n").await.unwrap();
        drop(theirs);
        assert!(matches!(reader.readline().await, Err(ReadError::Limit(_))));
        assert_eq!(reader.readline().await.unwrap(), b"short\n");
        assert_eq!(reader.readline().await.unwrap(), b"");
    });
}

#[test]
fn a_cancelled_read_loses_nothing() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, _writer) = streams(ours);
        let reader = Rc::new(roundel::Lock::new(reader));
        let reading = Rc::clone(&reader);
        let reads = create_task(async move { reading.acquire().await.readexactly(6).await });
        turn().await;
        theirs.write_all(b"tea").await.unwrap();
        turn().await;
        turn().await;
        reads.cancel();
        assert!(reads.await.is_err());
        theirs.write_all(b"pot").await.unwrap();
        assert_eq!(
            reader.acquire().await.readexactly(6).await.unwrap(),
            b"teapot"
        );
    });
}

#[test]
fn what_was_written_goes_without_draining_and_before_closing() {
    run(async {
        let much = pattern(1_000_000);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_reader, writer) = streams(ours);
        writer.write(&much);
        writer.write(b"end");
        drop(writer); // closes, when all is gone
        let mut got = Vec::new();
        (&theirs).read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), much.len() + 3);
        assert!(got.starts_with(&much));
    });
}

#[test]
fn draining_waits_until_the_peer_has_read() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_reader, writer) = streams(ours);
        let writer = Rc::new(writer);
        writer.write(&pattern(2_000_000));
        let drained = create_task({
            let writer = Rc::clone(&writer);
            async move { writer.drain().await }
        });
        for _ in 0..10 {
            turn().await;
        }
        assert!(!drained.is_finished());
        let mut buffer = vec![0; 100_000];
        let mut left = 2_000_000;
        while left > 0 {
            left -= theirs.read(&mut buffer).await.unwrap();
        }
        drained.await.unwrap().unwrap();
    });
}

#[test]
fn a_peer_that_has_gone_is_the_error_of_draining() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_reader, writer) = streams(ours);
        drop(theirs);
        writer.write(b"tea");
        let error = writer.drain().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(writer.is_closing());
        assert!(writer.wait_closed().await.is_err());
    });
}

#[test]
fn a_server_ends_when_its_connections_have() {
    run(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let served = Rc::clone(&log);
        let server = start_server(
            async move |mut reader, writer| {
                while let Ok(line) = reader.readline().await {
                    if line.is_empty() {
                        break;
                    }
                    served.borrow_mut().push(line.clone());
                    writer.write(&line);
                }
            },
            HERE,
        );
        let server = Rc::new(server.await.unwrap());
        let (mut reader, writer) = open_connection(server.local_addr().unwrap()).await.unwrap();
        writer.write(b"one\n");
        assert_eq!(reader.readline().await.unwrap(), b"one\n");
        server.close();
        let closing = Rc::clone(&server);
        let closed = create_task(async move { closing.wait_closed().await });
        turn().await;
        assert!(open_connection(server.local_addr().unwrap()).await.is_err());
        writer.write(b"two\n");
        assert_eq!(reader.readline().await.unwrap(), b"two\n");
        assert!(!closed.is_finished());
        writer.close();
        closed.await.unwrap();
        assert_eq!(*log.borrow(), [b"one\n", b"two\n"]);
    });
}

/// A connection's handler is a task, and one that panics is no other one's affair.
#[test]
fn a_handler_that_panics_closes_its_connection_and_no_other() {
    run(async {
        let server = start_server(
            async |mut reader, writer| {
                let line = reader.readline().await.unwrap();
                assert_ne!(line, b"bad\n", "as is wanted here");
                writer.write(&line);
            },
            HERE,
        );
        let server = server.await.unwrap();
        let address = server.local_addr().unwrap();
        let ask = async |text: &'static [u8]| {
            let (mut reader, writer) = open_connection(address).await.unwrap();
            writer.write(text);
            reader.read_to_end().await.unwrap()
        };
        assert_eq!(ask(b"bad\n").await, b"");
        assert_eq!(ask(b"good\n").await, b"good\n");
    });
}

#[test]
fn a_loop_that_closes_drops_what_waits_at_sockets() {
    let (client, address) = run(async {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        drop(create_task(async move {
            stream.read(&mut [0; 10]).await.unwrap();
            drop(listener);
        }));
        turn().await;
        (client, address)
    });
    // The connection is closed, and so is the listener.
    assert_eq!((&client).read(&mut [0; 10]).unwrap(), 0);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_socket_that_outlives_its_loop_can_be_dropped() {
    let mut runtime = roundel::Runtime::new().unwrap();
    let stream = runtime
        .run(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let closes = create_task(async move { drop(theirs) });
            // It waits, so it is watched.
            assert_eq!(ours.read(&mut [0; 10]).await.unwrap(), 0);
            closes.await.unwrap();
            ours
        })
        .unwrap();
    drop(runtime);
    drop(stream);
}

#[test]
fn what_is_awaited_outside_of_its_loop_says_what_it_is() {
    fn message<T>(future: impl Future<Output = T>) -> String {
        let context = &mut Context::from_waker(Waker::noop());
        let mut future = pin!(future);
        let poll = AssertUnwindSafe(|| drop(future.as_mut().poll(context)));
        let payload = catch_unwind(poll).unwrap_err();
        match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
        }
    }
    let outside = |name: &str, text: &str| {
        let start = format!("roundel::net::{name} was called outside of roundel::run: ");
        assert!(text.starts_with(&start), "{text}");
    };
    let stream = || run(async { UnixStream::pair().unwrap().0 });
    outside("UnixStream::read", &message(stream().read(&mut [0])));
    outside("UnixStream::write", &message(stream().write(b"tea")));
    let (mut reader, writer): (StreamReader, StreamWriter) = stream().into();
    outside("UnixStream::read", &message(reader.readline()));
    outside(
        "UnixStream::write",
        &message(async { writer.write(b"tea") }),
    );
    let listener = run(async { TcpListener::bind(HERE).await.unwrap() });
    outside("TcpListener::accept", &message(listener.accept()));
    outside(
        "TcpStream::connect",
        &message(TcpStream::connect((
            Ipv4Addr::LOCALHOST.to_string().as_str(),
            1,
        ))),
    );
    let socket = run(async { UdpSocket::bind(HERE).await.unwrap() });
    outside("UdpSocket::recv", &message(socket.recv(&mut [0])));
    let stream = stream();
    let mut other = roundel::Runtime::new().unwrap();
    let outcome = other.run(async move { stream.read(&mut [0]).await });
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("was taken to another loop"), "{text}");
}

#[test]
fn many_connections_at_once() {
    run(async {
        let server = start_server(
            async |mut reader, writer| {
                while let Ok(message) = reader.readexactly(100).await {
                    writer.write(&message);
                    writer.drain().await.unwrap();
                }
            },
            HERE,
        );
        let server = server.await.unwrap();
        let address: SocketAddr = server.local_addr().unwrap();
        let clients = (0..100).map(|n| async move {
            let (mut reader, writer) = open_connection(address).await.unwrap();
            for round in 0..10_u8 {
                writer.write(&[n ^ round; 100]);
                assert_eq!(reader.readexactly(100).await.unwrap(), [n ^ round; 100]);
            }
        });
        gather(clients).await.unwrap();
        drop(create_task(pending::<()>()));
    });
}
