//! Other people's protocols over our sockets and streams: hyper serves curl and wrk, rustls talks to a
//! server that is not ours. Where one of the programs is not installed, that is said, and its test not
//! run.
#![cfg(not(loom))]

use std::{
    cell::Cell,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    process::{Command, Stdio},
    rc::Rc,
    sync::Arc,
    thread,
};

use roundel::{
    create_task,
    net::{StreamReader, StreamWriter, TcpListener, TcpStream, UnixStream, start_server},
    process::create_subprocess_exec,
    run,
};
use tokio::io::{AsyncRead, AsyncWrite};

const HERE: (&str, u16) = ("127.0.0.1", 0);

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        // Not by a macro: what those print is shown of failures only.
        let _ = writeln!(io::stderr(), "not run: {program} is not installed");
    }
    found
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(HERE).await.unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap());
    let one = one.await.unwrap();
    (one, listener.accept().await.unwrap().0)
}

/// Some bytes, none like its neighbours.
fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n % 251) as u8).collect()
}

/// Serves HTTP over one connection, and counts the requests.
async fn http(stream: impl AsyncRead + AsyncWrite + Unpin, served: &Cell<u64>) {
    use http_body_util::{BodyExt as _, Full};
    use hyper::{Request, Response, body::Bytes, service::service_fn};

    let service = service_fn(async |request: Request<hyper::body::Incoming>| {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let answer = format!("{path}: {} bytes\n", body.len());
        served.set(served.get() + 1);
        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(answer))))
    });
    let stream = hyper_util::rt::TokioIo::new(stream);
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(stream, service);
    // A client may go in the middle of a request, as wrk does when its time is over.
    let _ = connection.await;
}

/// Has a client served by hyper, first over sockets and then over asyncio's streams.
fn served(client: impl AsyncFn(SocketAddr, &Cell<u64>) + Copy + 'static) {
    run(async move {
        let served = Rc::new(Cell::new(0));
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Rc::clone(&served);
        let serving = create_task(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let counts = Rc::clone(&counts);
                drop(create_task(async move { http(stream, &counts).await }));
            }
        });
        client(address, &served).await;
        serving.cancel();
    });
    run(async move {
        let served = Rc::new(Cell::new(0));
        let counts = Rc::clone(&served);
        let server = start_server(
            async move |reader, writer| http(tokio::io::join(reader, writer), &counts).await,
            HERE,
        );
        let server = server.await.unwrap();
        client(server.local_addr().unwrap(), &served).await;
    });
}

#[test]
fn curl_is_served_by_hyper() {
    if !is_installed("curl") {
        return;
    }
    served(async |address, served| {
        let curl = create_subprocess_exec("curl")
            .args(["--silent", "--show-error", "--max-time", "60"])
            .args(["--data-binary", "@-"])
            .arg(format!("http://{address}/one"))
            .arg(format!("http://{address}/two"));
        let curl = curl.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut curl = curl.await.unwrap();
        let (printed, _) = curl.communicate(Some(&pattern(300_000))).await.unwrap();
        assert_eq!(curl.returncode(), Some(0));
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(printed, "/one: 300000 bytes\n/two: 300000 bytes\n");
        assert_eq!(served.get(), 2);
    });
}

#[test]
fn wrk_s_load_is_served_by_hyper() {
    if !is_installed("wrk") {
        return;
    }
    served(async |address, served| {
        let wrk = create_subprocess_exec("wrk")
            .args(["--threads", "1", "--connections", "50", "--duration", "1s"])
            .arg(format!("http://{address}/load"));
        let mut wrk = wrk.stdout(Stdio::piped()).await.unwrap();
        let (printed, _) = wrk.communicate(None).await.unwrap();
        assert_eq!(wrk.returncode(), Some(0));
        let printed = String::from_utf8(printed).unwrap();
        for bad in ["Socket errors", "Non-2xx"] {
            assert!(!printed.contains(bad), "{printed}");
        }
        let (before, _) = printed.split_once(" requests in").expect(&printed);
        let answered = before.rsplit(' ').next().unwrap().trim().parse::<u64>();
        let answered = answered.expect(&printed);
        // None that was not served.
        assert!(
            (1..=served.get()).contains(&answered),
            "{printed}{}",
            served.get()
        );
    });
}

#[test]
fn tokio_s_traits_read_and_write_through_streams() {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

    run(async {
        let much = pattern(1_000_000);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_, mut writer): (_, StreamWriter) = ours.into();
        let (mut reader, _theirs): (StreamReader, _) = theirs.into();
        let sent = much.clone();
        let writes = create_task(async move {
            writer.write_all(b"line\nexactly").await.unwrap();
            // It waits where `write` of the writer's own would keep all of it.
            writer.write_all(&sent).await.unwrap();
            writer.flush().await.unwrap();
            writer.shutdown().await.unwrap();
            writer.write_all(b"more").await.unwrap_err().kind()
        });
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        assert_eq!(line, "line\n");
        // What was read ahead is there for asyncio's methods, and the other way round.
        assert_eq!(reader.readexactly(2).await.unwrap(), b"ex");
        let mut rest = [0; 5];
        reader.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"actly");
        let mut got = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut got)
            .await
            .unwrap();
        assert!(got == much, "{} bytes", got.len());
        assert_eq!(writes.await.unwrap(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn tokio_s_traits_read_and_write_through_a_child_s_pipes() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    run(async {
        let cat = create_subprocess_exec("cat").stdin(Stdio::piped());
        let mut cat = cat.stdout(Stdio::piped()).await.unwrap();
        let mut stdin = cat.stdin.take().unwrap();
        stdin.write_all(b"tea").await.unwrap();
        stdin.shutdown().await.unwrap();
        let mut text = String::new();
        let stdout = cat.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "tea");
        assert!(cat.wait().await.unwrap().success());
    });
}

/// A certificate for localhost and its key, both as text.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "/dev/stdout",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = String::from_utf8(made.stdout).unwrap();
    let (key, certificate) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
    (certificate.into(), key.into())
}

#[test]
fn tls_by_rustls_to_a_server_that_is_not_ours() {
    use futures_rustls::{
        TlsAcceptor, TlsConnector,
        rustls::{
            ClientConfig, RootCertStore, ServerConfig, StreamOwned,
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        },
    };
    use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

    if !is_installed("openssl") {
        return;
    }
    let (certificate, key) = certificate();
    let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
    let certificate = CertificateDer::from_pem_slice(&certificate).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let server = Arc::new(server);
    let name = || ServerName::try_from("localhost").unwrap();
    let much = Arc::new(pattern(500_000));

    // A server in a thread, on std's blocking sockets.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, expected) = (Arc::clone(&server), Arc::clone(&much));
    let blocking = thread::spawn(move || {
        use futures_rustls::rustls::ServerConnection;
        let (stream, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).unwrap();
        assert!(got == *expected);
        stream.write_all(&got).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let (config, sent) = (Arc::clone(&client), Arc::clone(&much));
    run(async move {
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = TlsConnector::from(config).connect(name(), stream).await;
        let mut stream = stream.unwrap();
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert!(got == *sent);
    });
    blocking.join().unwrap();

    // And both ends on one loop.
    run(async move {
        let (one, other) = connected().await;
        let accepts = create_task(async move {
            let mut stream = TlsAcceptor::from(server).accept(one).await?;
            let mut line = [0; 3];
            stream.read_exact(&mut line).await?;
            stream.write_all(&line).await?;
            stream.close().await?;
            io::Result::Ok(line)
        });
        let stream = TlsConnector::from(client).connect(name(), other).await;
        let mut stream = stream.unwrap();
        stream.write_all(b"tea").await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"tea");
        assert_eq!(&accepts.await.unwrap().unwrap(), b"tea");
    });
}
