//! tokio, whose event loop waits in `epoll_wait`, within a call that blocks.

use std::io;
use std::net::{SocketAddr, TcpListener};

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::TcpStream;
use ::tokio::runtime::{Builder, Runtime};
use clients::interrupted::interrupted;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn read(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"a request").await?;
    stream.read_exact(&mut [0]).await?;
    Ok(())
}

#[test]
fn an_interrupted_read_of_tokio_s_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Its errors are those of the socket.
    let call = move |runtime: &mut Runtime| {
        let error = runtime.block_on(read(address)).err();
        let errno = error.as_ref().and_then(io::Error::raw_os_error);
        assert!(matches!(errno, Some(libc::ETIMEDOUT | libc::ECONNABORTED)), "{error:?}");
        error.map_or(Ok(()), Err)
    };
    let again = |runtime: Runtime| {
        let word = runtime.block_on(async {
            let listener = ::tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            let mut client = TcpStream::connect(listener.local_addr()?).await?;
            let (mut server, _) = listener.accept().await?;
            server.write_all(b"word").await?;
            let mut word = [0; 4];
            client.read_exact(&mut word).await?;
            io::Result::Ok(word)
        });
        assert_eq!(&word.unwrap(), b"word");
    };
    interrupted("tokio", runtime, call, again);
    drop(listener);
}
