//! tokio: the same workloads as async code.

use std::future::{Future, poll_fn};
use std::io::SeekFrom;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::select;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::{JoinHandle, spawn, spawn_blocking};
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::calls::{BLOCK, CHILD, Folder, LARGE, NAME, SMALL, SMALL_FILES};
use crate::calls::{report, report_names, whole_metric};
use crate::choosing::{self, Order};
use crate::support::arguments::Arguments;
use crate::support::clock::{Spent, Stopwatch, now};
use crate::support::output::Output;
use crate::tls;

/// Runs a measure on a runtime of one thread, or as `#[tokio::main]` makes one.
pub(crate) fn run(one_thread: bool, output: Output, arguments: Arguments) {
    let mut builder = if one_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { spawn(measure(output, arguments)).await.unwrap() });
}

async fn measure(output: Output, arguments: Arguments) {
    let get = |key, default| arguments.get(key, default);
    match arguments.measure.as_str() {
        "file_read" => read(&output, get("tasks", 1), get("iters", 20_000)).await,
        "file_write" => write(&output, get("tasks", 1), get("iters", 20_000)).await,
        "file_sync" => synchronize(&output, get("tasks", 16), get("iters", 500)).await,
        "file_whole" => {
            read_whole(&output, get("tasks", 16), get("iters", 5_000), arguments.has("cold")).await;
        }
        "unblock" => unblock(&output, get("tasks", 1), get("iters", 50_000)).await,
        "names" => names(&output, get("rate", 1_000), get("iters", 2_000)).await,
        "children" => children(&output, get("tasks", 100), get("rounds", 3)).await,
        "select" => choose(&output, get("channels", 10), get("iters", 100_000)).await,
        "tls_echo" => round_trips(&output, get("connections", 100), get("iters", 50_000)).await,
        "tls_handshakes" => handshakes(&output, get("tasks", 16), get("iters", 500)).await,
        other => output.unsupported(other),
    }
}

async fn join(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        handle.await.unwrap();
    }
}

async fn together<F: Future<Output = ()> + Send + 'static>(tasks: usize, body: impl Fn(usize) -> F) -> Spent {
    let clock = Stopwatch::start();
    join((0..tasks).map(|task| spawn(body(task))).collect()).await;
    clock.stop()
}

async fn open(folder: &Folder, task: usize) -> File {
    File::options().read(true).write(true).open(folder.path(task)).await.unwrap()
}

async fn read(output: &Output, tasks: usize, iterations: usize) {
    let folder = Arc::new(Folder::new(tasks, LARGE));
    let turns = (iterations / tasks).max(1);
    let body = |task| {
        let folder = folder.clone();
        async move {
            let mut file = open(&folder, task).await;
            let mut block = [0; BLOCK];
            for turn in 0..turns {
                if turn % (LARGE / BLOCK) == 0 {
                    file.seek(SeekFrom::Start(0)).await.unwrap();
                }
                file.read_exact(&mut block).await.unwrap();
            }
        }
    };
    report(output, "file_read", tasks, together(tasks, body).await, turns * tasks);
}

async fn write(output: &Output, tasks: usize, iterations: usize) {
    let folder = Arc::new(Folder::new(tasks, LARGE));
    let turns = (iterations / tasks).max(1);
    let body = |task| {
        let folder = folder.clone();
        async move {
            let mut file = open(&folder, task).await;
            for turn in 0..turns {
                if turn % (LARGE / BLOCK) == 0 {
                    file.seek(SeekFrom::Start(0)).await.unwrap();
                }
                file.write_all(&[turn as u8; BLOCK]).await.unwrap();
            }
            file.flush().await.unwrap();
        }
    };
    report(output, "file_write", tasks, together(tasks, body).await, turns * tasks);
}

async fn synchronize(output: &Output, tasks: usize, iterations: usize) {
    let folder = Arc::new(Folder::new(tasks, LARGE));
    let turns = (iterations / tasks).max(1);
    let body = |task| {
        let folder = folder.clone();
        async move {
            let mut file = open(&folder, task).await;
            for turn in 0..turns {
                file.write_all(&[turn as u8; BLOCK]).await.unwrap();
                file.flush().await.unwrap();
                file.sync_data().await.unwrap();
            }
        }
    };
    report(output, "file_sync", tasks, together(tasks, body).await, turns * tasks);
}

async fn read_whole(output: &Output, tasks: usize, iterations: usize, cold: bool) {
    let folder = Arc::new(Folder::new(SMALL_FILES, SMALL));
    let passes = iterations.div_ceil(SMALL_FILES);
    let mut total = Spent { wall: 0.0, processor: 0.0 };
    for _ in 0..passes {
        if cold {
            folder.evict();
        }
        let next = Arc::new(AtomicUsize::new(0));
        let body = |_| {
            let (folder, next) = (folder.clone(), next.clone());
            async move {
                while let file @ 0..SMALL_FILES = next.fetch_add(1, Ordering::SeqCst) {
                    assert_eq!(tokio::fs::read(folder.path(file)).await.unwrap().len(), SMALL);
                }
            }
        };
        let spent = together(tasks, body).await;
        total.wall += spent.wall;
        total.processor += spent.processor;
    }
    report(output, whole_metric(cold), tasks, total, passes * SMALL_FILES);
}

async fn unblock(output: &Output, tasks: usize, iterations: usize) {
    let turns = (iterations / tasks).max(1) as u64;
    together(tasks, |_| async { spawn_blocking(|| ()).await.unwrap() }).await;
    let body = |_| async move {
        for turn in 0..turns {
            assert_eq!(spawn_blocking(move || turn + 1).await.unwrap(), turn + 1);
        }
    };
    report(output, "unblock", tasks, together(tasks, body).await, turns as usize * tasks);
}

async fn names(output: &Output, rate: usize, iterations: usize) {
    let late = Arc::new(Mutex::new(Vec::with_capacity(iterations)));
    assert!(lookup_host((NAME, 80)).await.unwrap().count() > 0);
    let clock = Stopwatch::start();
    let start = now();
    let mut handles = Vec::new();
    for number in 0..iterations {
        let due = start + (number * 1_000_000_000 / rate) as u64;
        let early = due.saturating_sub(now());
        if early > 0 {
            sleep(Duration::from_nanos(early)).await;
        }
        let late = late.clone();
        handles.push(spawn(async move {
            assert!(lookup_host((NAME, 80)).await.unwrap().count() > 0);
            late.lock().unwrap().push(now() - due);
        }));
    }
    join(handles).await;
    report_names(output, rate, clock.stop(), &mut late.lock().unwrap());
}

async fn children(output: &Output, tasks: usize, rounds: usize) {
    let run = || async { assert!(Command::new(CHILD).status().await.unwrap().success()) };
    run().await;
    let mut total = Spent { wall: 0.0, processor: 0.0 };
    for _ in 0..rounds {
        let spent = together(tasks, |_| run()).await;
        total.wall += spent.wall;
        total.processor += spent.processor;
    }
    report(output, "children", tasks, total, rounds * tasks);
}

async fn choose(output: &Output, channels: usize, iterations: usize) {
    let (mut asks, mut sinks, mut handles) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..channels {
        let (ask, mut asked) = channel(1);
        let (source, sink) = channel(1);
        asks.push(ask);
        sinks.push(sink);
        handles.push(spawn(async move {
            while let Some(value) = asked.recv().await {
                let _ = source.send(value).await;
            }
        }));
    }
    let clock = Stopwatch::start();
    let chooser = spawn(async move {
        let mut order = Order::new(channels);
        asks[order.next()].send(0).await.unwrap();
        for _ in 0..iterations {
            let value = first(&mut sinks).await;
            let _ = asks[order.next()].send(value + 1).await;
        }
    });
    chooser.await.unwrap();
    choosing::report(output, "select_wait", channels, clock.stop(), iterations);
    join(handles).await;

    let ended = Arc::new(AtomicBool::new(false));
    let (sources, mut sinks): (Vec<_>, Vec<_>) = (0..channels).map(|_| channel(16)).unzip();
    let begin = |source: tokio::sync::mpsc::Sender<u64>| {
        let ended = ended.clone();
        spawn(async move { while !ended.load(Ordering::SeqCst) && source.send(1).await.is_ok() {} })
    };
    let handles: Vec<_> = sources.into_iter().map(begin).collect();
    let clock = Stopwatch::start();
    let chooser = spawn(async move {
        let mut sum = 0;
        for _ in 0..iterations {
            sum += first(&mut sinks).await;
        }
        assert_eq!(sum, iterations as u64);
    });
    chooser.await.unwrap();
    choosing::report(output, "select_ready", channels, clock.stop(), iterations);
    ended.store(true, Ordering::SeqCst);
    join(handles).await;
}

/// Whichever comes first: by the macro, or of more than that takes by a list that is polled from a place at random, as `StreamMap`
/// does it.
async fn first(sinks: &mut [Receiver<u64>]) -> u64 {
    let value = match sinks {
        [a, b] => select! { value = a.recv() => value, value = b.recv() => value },
        [a, b, c, d, e, f, g, h, i, j] => select! {
            value = a.recv() => value,
            value = b.recv() => value,
            value = c.recv() => value,
            value = d.recv() => value,
            value = e.recv() => value,
            value = f.recv() => value,
            value = g.recv() => value,
            value = h.recv() => value,
            value = i.recv() => value,
            value = j.recv() => value,
        },
        many => {
            let count = many.len();
            let start = now() as usize % count;
            let poll = |context: &mut std::task::Context<'_>| {
                let ready = (start..start + count).map(|index| many[index % count].poll_recv(context));
                ready.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
            };
            poll_fn(poll).await
        }
    };
    value.unwrap()
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn echo(stream: TcpStream, acceptor: TlsAcceptor) {
    let mut stream = acceptor.accept(stream).await.unwrap();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..length]).await.unwrap();
        stream.flush().await.unwrap();
    }
}

async fn connect(port: u16, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    connector.connect(tls::name(), stream).await.unwrap()
}

async fn round_trip(stream: &mut TlsStream<TcpStream>, turn: usize) {
    let message = [turn as u8; tls::MESSAGE];
    let mut answer = [0; tls::MESSAGE];
    stream.write_all(&message).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(message, answer);
}

async fn round_trips(output: &Output, connections: usize, iterations: usize) {
    let settings = tls::Settings::new();
    let (acceptor, connector) = (TlsAcceptor::from(settings.server), TlsConnector::from(settings.client));
    let (listener, port) = listen().await;
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let connector = connector.clone();
        let client = spawn(async move {
            let mut client = connect(port, &connector).await;
            round_trip(&mut client, 0).await;
            client
        });
        servers.push(spawn(echo(accept(&listener).await, acceptor.clone())));
        clients.push(client.await.unwrap());
    }
    let turns = (iterations / connections).max(1);
    let clock = Stopwatch::start();
    let talk = |mut client| async move {
        for turn in 0..turns {
            round_trip(&mut client, turn).await;
        }
    };
    join(clients.into_iter().map(|client| spawn(talk(client))).collect()).await;
    tls::report(output, "tls_echo", connections, clock.stop(), turns * connections);
    join(servers).await;
}

async fn handshakes(output: &Output, tasks: usize, iterations: usize) {
    let settings = tls::Settings::new();
    let (acceptor, connector) = (TlsAcceptor::from(settings.server), TlsConnector::from(settings.client));
    let (listener, port) = listen().await;
    let turns = (iterations / tasks).max(1);
    let total = turns * tasks;
    let clock = Stopwatch::start();
    let server = spawn(async move {
        let mut servers = Vec::new();
        for _ in 0..total {
            servers.push(spawn(echo(accept(&listener).await, acceptor.clone())));
        }
        join(servers).await;
    });
    let client = |_| {
        let connector = connector.clone();
        spawn(async move {
            for _ in 0..turns {
                round_trip(&mut connect(port, &connector).await, 0).await;
            }
        })
    };
    join((0..tasks).map(client).collect()).await;
    server.await.unwrap();
    tls::report(output, "tls_handshake", tasks, clock.stop(), total);
}
