// One request of the line protocol, the same text for both: `Stream` and its methods are whichever runtime's.

pub async fn request(stream: &mut Stream, rest: &mut Vec<u8>, line: &str) -> std::io::Result<String> {
    stream.write_all(line.as_bytes()).await?;
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            break end;
        }
        match stream.read(&mut buffer).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => rest.extend_from_slice(&buffer[..n]),
        }
    };
    let answer: Vec<u8> = rest.drain(..=end).collect();
    Ok(String::from_utf8_lossy(&answer[..end]).into_owned())
}
