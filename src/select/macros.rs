//! `select!`, in terms of [`Select`](super::Select).

/// Waits until one of several operations can be done, and does that one.
///
/// These are the arms, in any number and order:
///
/// - `recv(receiver) -> result => body` is a [`recv`](crate::channel::Receiver::recv). [`after`](crate::channel::after) and
///   [`tick`](crate::channel::tick) make receivers of times.
/// - `send(sender, value) -> result => body` is a [`send`](crate::channel::Sender::send). The value is made when the arm has been
///   chosen. At a rendezvous the receiver waits meanwhile, whatever its own time limit.
/// - `readable(descriptor) -> result => body` and `writable(descriptor) -> result => body` wait as
///   [`wait_readable`](crate::io::wait_readable) and [`wait_writable`](crate::io::wait_writable) do. Nothing is read or written.
/// - `default => body` is chosen if there was a moment when nothing could be done; the macro then waits for nothing. See
///   [`Select::try_select`](crate::select::Select::try_select).
/// - `default(timeout) => body` is chosen if nothing could be done for that long.
///
/// `result` is a name, `_`, or another pattern that always matches. `Ok(value)` does not compile there, since the result may be an
/// `Err`: match on it in the body.
///
/// [The module](mod@crate::select) tells which arm is chosen, what to do in a loop when a channel ends, and what a kill and a time
/// limit do. The syntax is that of crossbeam-channel's macro.
///
/// # Panics
///
/// As [`Select::select`](crate::select::Select::select).
///
/// # Examples
///
/// ```
/// use greenloop::channel::{bounded, unbounded};
/// use greenloop::select;
/// use std::time::Duration;
///
/// let (sender, receiver) = bounded(1);
/// let (_other, silent) = unbounded::<u32>();
/// let mut log = Vec::new();
/// for round in 1..=2 {
///     select! {
///         send(sender, round) -> result => log.push(format!("sent: {result:?}")),
///         recv(silent) -> number => log.push(format!("received: {number:?}")),
///         default(Duration::from_millis(1)) => log.push("full".to_owned()),
///     }
/// }
/// assert_eq!(log, ["sent: Ok(())", "full"]);
/// assert_eq!(select! { recv(receiver) -> number => number, default => Ok(0) }, Ok(1));
/// assert_eq!(select! { recv(receiver) -> number => number, default => Ok(0) }, Ok(0));
/// ```
///
/// Descriptors beside channels:
///
/// ```
/// use std::io::{Read, Write};
/// use greenloop::channel::bounded;
/// use greenloop::{select, spawn};
///
/// let (mut reader, mut writer) = std::io::pipe()?;
/// let (_quit, quitting) = bounded::<()>(0);
/// let writing = spawn(move || writer.write_all(b"ping"));
/// let mut word = [0; 4];
/// select! {
///     readable(reader) -> ready => {
///         ready?;
///         reader.read_exact(&mut word)?;
///     }
///     recv(quitting) -> _ => {}
/// }
/// assert_eq!(&word, b"ping");
/// # writing.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => {
        $crate::__select!(@parse new [] $($arms)*)
    };
}

/// Waits until one of several operations can be done, and does it; if several can be done, the one that is written first.
///
/// Apart from that, it is like [`select!`](crate::select!). An operation that can always be done keeps all that come after it
/// from ever being done. If the macro has to wait, it does the first operation that becomes possible. This is crossbeam-channel's
/// `select_biased!`.
///
/// # Panics
///
/// As [`select!`](crate::select!).
///
/// # Examples
///
/// ```
/// use greenloop::channel::unbounded;
/// use greenloop::select_biased;
///
/// let (urgent, urgently) = unbounded();
/// let (ordinary, ordinarily) = unbounded();
/// for number in 0..100 {
///     ordinary.send(number).unwrap();
///     urgent.send(number).unwrap();
/// }
/// for _ in 0..100 {
///     select_biased! {
///         recv(urgently) -> number => assert!(number.is_ok()),
///         recv(ordinarily) -> _ => unreachable!("there is something urgent"),
///     }
/// }
/// assert_eq!(ordinarily.len(), 100);
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($arms:tt)*) => {
        $crate::__select!(@parse new_biased [] $($arms)*)
    };
}

/// The inside of `select!`. First every arm becomes `(kind (arguments) (pattern) body)`; then each adds itself to a `Select`,
/// one scope within the other, so that what its argument borrows lives; then comes the wait, and a chain of `if`s.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@parse $new:ident [$($done:tt)*] $kind:ident $(($($arguments:tt)*))? $(-> $result:pat)? => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@parse $new [$($done)* ($kind ($($($arguments)*)?) ($($result)?) $body)] $($rest)*)
    };
    (@parse $new:ident [$($done:tt)*] $kind:ident $(($($arguments:tt)*))? $(-> $result:pat)? => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $new [$($done)* ($kind ($($($arguments)*)?) ($($result)?) $body)] $($rest)*)
    };
    (@parse $new:ident [$($done:tt)*] $kind:ident $(($($arguments:tt)*))? $(-> $result:pat)? => $body:expr) => {
        $crate::__select!(@parse $new [$($done)* ($kind ($($($arguments)*)?) ($($result)?) $body)])
    };
    (@parse $new:ident [$($done:tt)*]) => {{
        let mut select = $crate::select::Select::$new();
        $crate::__select!(@add select [] [] $($done)*)
    }};
    (@parse $new:ident $done:tt $kind:ident $(($($arguments:tt)*))? $(-> $result:pat)? => $($rest:tt)*) => {
        compile_error!(concat!(
            "the body of `",
            stringify!($kind),
            $(stringify!(($($arguments)*)),)?
            "` in select! is an expression, with a comma before the next arm"
        ))
    };
    (@parse $new:ident $done:tt $kind:ident ($($arguments:tt)*) $($rest:tt)*) => {
        compile_error!(concat!(
            "after `", stringify!($kind), stringify!(($($arguments)*)), "` in select! comes `-> name => body`"
        ))
    };
    (@parse $new:ident $done:tt $($rest:tt)*) => {
        compile_error!(concat!("an arm of select! begins with recv, send, readable, writable or default: `", stringify!($($rest)*), "`"))
    };

    (@add $select:ident $added:tt [] (default ($($timeout:expr)? $(,)?) () $body:expr) $($rest:tt)*) => {
        $crate::__select!(@add $select $added [($($timeout)?) $body] $($rest)*)
    };
    (@add $select:ident [$($added:tt)*] $default:tt (recv ($end:expr $(,)?) ($result:pat) $body:expr) $($rest:tt)*) => {
        match $end {
            ref end => {
                let end: &$crate::channel::Receiver<_> = end;
                let index = $select.recv(end);
                $crate::__select!(
                    @add $select [$($added)* (index (operation => operation.recv(end)) $result, $body)] $default $($rest)*
                )
            }
        }
    };
    (@add $select:ident [$($added:tt)*] $default:tt
        (send ($end:expr, $value:expr $(,)?) ($result:pat) $body:expr) $($rest:tt)*) => {
        match $end {
            ref end => {
                let end: &$crate::channel::Sender<_> = end;
                let index = $select.send(end);
                $crate::__select!(
                    @add $select [$($added)* (index (operation => operation.send(end, $value)) $result, $body)]
                    $default $($rest)*
                )
            }
        }
    };
    (@add $select:ident $added:tt $default:tt (readable $arguments:tt ($result:pat) $body:expr) $($rest:tt)*) => {
        $crate::__select!(@add_descriptor readable $select $added $default ($arguments ($result) $body) $($rest)*)
    };
    (@add $select:ident $added:tt $default:tt (writable $arguments:tt ($result:pat) $body:expr) $($rest:tt)*) => {
        $crate::__select!(@add_descriptor writable $select $added $default ($arguments ($result) $body) $($rest)*)
    };
    (@add_descriptor $kind:ident $select:ident [$($added:tt)*] $default:tt
        (($descriptor:expr $(,)?) ($result:pat) $body:expr) $($rest:tt)*) => {
        match $descriptor {
            ref descriptor => {
                let index = $select.$kind(descriptor);
                $crate::__select!(
                    @add $select [$($added)* (index (operation => operation.readiness()) $result, $body)]
                    $default $($rest)*
                )
            }
        }
    };
    (@add_descriptor $kind:ident $select:ident $added:tt $default:tt ($arguments:tt $($arm:tt)*) $($rest:tt)*) => {
        compile_error!(concat!("`", stringify!($kind), stringify!($arguments), "` in select! takes one descriptor"))
    };

    // What is wrong with an arm that none of those is.
    (@add $select:ident $added:tt [$timeout:tt $former:expr] (default $($arm:tt)*) $($rest:tt)*) => {
        compile_error!("there are two `default` arms in this select!")
    };
    (@add $select:ident $added:tt $default:tt (default $timeout:tt ($result:pat) $body:expr) $($rest:tt)*) => {
        compile_error!("`default` in select! has no result: `=> body` comes after it, without `-> name`")
    };
    (@add $select:ident $added:tt $default:tt (default $($arm:tt)*) $($rest:tt)*) => {
        compile_error!("`default` in select! takes one time limit, or nothing")
    };
    (@add $select:ident $added:tt $default:tt (recv $arguments:tt ($result:pat) $body:expr) $($rest:tt)*) => {
        compile_error!(concat!("`recv", stringify!($arguments), "` in select! takes one receiver"))
    };
    (@add $select:ident $added:tt $default:tt (send $arguments:tt ($result:pat) $body:expr) $($rest:tt)*) => {
        compile_error!(concat!("`send", stringify!($arguments), "` in select! takes a sender and a value"))
    };
    (@add $select:ident $added:tt $default:tt (recv $($arm:tt)*) $($rest:tt)*) => {
        $crate::__select!(@nameless recv $($arm)*)
    };
    (@add $select:ident $added:tt $default:tt (send $($arm:tt)*) $($rest:tt)*) => {
        $crate::__select!(@nameless send $($arm)*)
    };
    (@add $select:ident $added:tt $default:tt (readable $($arm:tt)*) $($rest:tt)*) => {
        $crate::__select!(@nameless readable $($arm)*)
    };
    (@add $select:ident $added:tt $default:tt (writable $($arm:tt)*) $($rest:tt)*) => {
        $crate::__select!(@nameless writable $($arm)*)
    };
    (@add $select:ident $added:tt $default:tt ($kind:ident $($arm:tt)*) $($rest:tt)*) => {
        compile_error!(concat!(
            "an arm of select! is recv, send, readable, writable or default, and not `", stringify!($kind), "`"
        ))
    };
    (@nameless $kind:ident $arguments:tt $($arm:tt)*) => {
        compile_error!(concat!(
            "`-> name` is missing after `", stringify!($kind), stringify!($arguments), "` in select!; where the result does not matter it is `-> _`"
        ))
    };

    (@add $select:ident $added:tt []) => {
        match $select.select() {
            operation => $crate::__select!(@finish operation $added),
        }
    };
    (@add $select:ident $added:tt [() $body:expr]) => {
        match $select.try_select() {
            Ok(operation) => $crate::__select!(@finish operation $added),
            Err(_) => $body,
        }
    };
    (@add $select:ident $added:tt [($timeout:expr) $body:expr]) => {
        match $select.select_timeout($timeout) {
            Ok(operation) => $crate::__select!(@finish operation $added),
            Err(_) => $body,
        }
    };

    (@finish $operation:ident []) => {
        unreachable!("{:?} is none of the arms", $operation)
    };
    (@finish $operation:ident
        [($index:ident ($chosen:ident => $completed:expr) $result:pat, $body:expr) $($rest:tt)*]) => {
        if $operation.index() == $index {
            let $chosen = $operation;
            let $result = $completed;
            $body
        } else {
            $crate::__select!(@finish $operation [$($rest)*])
        }
    };
}
