//! Looking for bytes in bytes, by the C library, which does it with the processor's widest instructions.

/// Where `needle` occurs first in `hay`, from `from` on.
pub fn find(hay: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = hay.get(from..)?;
    let found = match needle {
        [] => return Some(from),
        [byte] => byte_in(rest, *byte),
        _ => bytes_in(rest, needle),
    };
    found.map(|place| from + place)
}

fn byte_in(hay: &[u8], byte: u8) -> Option<usize> {
    // SAFETY: looks at that many bytes from a valid address; the result is null or an address among them.
    let found = unsafe { libc::memchr(hay.as_ptr().cast(), i32::from(byte), hay.len()) };
    (!found.is_null()).then(|| found.addr() - hay.as_ptr().addr())
}

#[cfg(not(windows))]
fn bytes_in(hay: &[u8], needle: &[u8]) -> Option<usize> {
    // SAFETY: as above, with two runs of bytes.
    let found = unsafe {
        libc::memmem(
            hay.as_ptr().cast(),
            hay.len(),
            needle.as_ptr().cast(),
            needle.len(),
        )
    };
    (!found.is_null()).then(|| found.addr() - hay.as_ptr().addr())
}

#[cfg(windows)]
fn bytes_in(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|part| part == needle)
}
