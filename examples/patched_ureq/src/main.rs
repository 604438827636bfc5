//! A hundred fetches at once on one OS thread, by ureq as it comes: what blocks in std yields to the hub.
//!
//! ```text
//! cargo run --release --features monkey --example patched_ureq
//! ```
//!
//! Expected output:
//!
//!     100 pages in [..]s

use std::{io, io::Read, io::Write, net::TcpListener, thread::sleep, time::Duration, time::Instant};

fn main() -> io::Result<()> {
    greenloop::monkey::patch_all();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (second, page) = (Duration::from_secs(1), b"HTTP/1.0 200 OK\r\n\r\nhello");
    greenloop::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            greenloop::spawn(move || (stream.read(&mut [0; 999]), sleep(second), stream.write_all(page)));
        }
    });
    let start = Instant::now();
    let fetch = move || ureq::get(&url).call()?.body_mut().read_to_string();
    let fetches: Vec<_> = (0..100).map(|_| greenloop::spawn(fetch.clone())).collect();
    let pages = fetches.into_iter().filter_map(|fetch| fetch.join().unwrap().ok());
    println!("{} pages in {:.1?}", pages.count(), start.elapsed());
    Ok(())
}
