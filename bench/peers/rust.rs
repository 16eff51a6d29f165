// rust.rs - an echo server on Rust's standard library: one thread a connection, blocking. Prints nothing; SIGTERM ends
// it.
//
//     rustc -O -o rust bench/peers/rust.rs && ./rust ./uds_socket

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::{env, process, thread};

const BUFFER_BYTES: usize = 65536;

fn echo(mut client: UnixStream) {
    let mut buffer = [0u8; BUFFER_BYTES];
    while let Ok(n) = client.read(&mut buffer) {
        if n == 0 || client.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

fn main() {
    let path = env::args().nth(1).unwrap_or_else(|| process::exit(2));
    let listener = UnixListener::bind(path).unwrap_or_else(|_| process::exit(1));
    for client in listener.incoming().flatten() {
        // Where no thread can be had, the connection is dropped, and the server goes on.
        let _ = thread::Builder::new().spawn(move || echo(client));
    }
}
