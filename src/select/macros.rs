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
/// [The module](mod@crate::select) tells which arm is chosen, and what a kill and a time limit do. The syntax is that of
/// crossbeam-channel's macro.
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
        $crate::__select!(@parse [] $($arms)*)
    };
}

/// The inside of `select!`. First every arm becomes `(kind (arguments) (pattern) body)`; then each adds itself to a `Select`,
/// one scope within the other, so that what its argument borrows lives; then comes the wait, and a chain of `if`s.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@parse [$($done:tt)*] $kind:ident $(($($arguments:tt)*))? $(-> $result:pat)? => $body:expr, $($rest:tt)*) => {
        $crate::__select!(@parse [$($done)* ($kind ($($($arguments)*)?) ($($result)?) $body)] $($rest)*)
    };
    (@parse [$($done:tt)*] $kind:ident $(($($arguments:tt)*))? $(-> $result:pat)? => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse [$($done)* ($kind ($($($arguments)*)?) ($($result)?) $body)] $($rest)*)
    };
    (@parse [$($done:tt)*] $kind:ident $(($($arguments:tt)*))? $(-> $result:pat)? => $body:expr) => {
        $crate::__select!(@parse [$($done)* ($kind ($($($arguments)*)?) ($($result)?) $body)])
    };
    (@parse [$($done:tt)*]) => {{
        let mut select = $crate::select::Select::new();
        $crate::__select!(@add select [] [] $($done)*)
    }};
    (@parse $done:tt $($rest:tt)*) => {
        compile_error!(concat!("no arm of select!: `", stringify!($($rest)*), "`"))
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
    (@add $select:ident [$($added:tt)*] $default:tt
        ($kind:ident ($descriptor:expr $(,)?) ($result:pat) $body:expr) $($rest:tt)*) => {
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
    (@add $select:ident $added:tt $default:tt $arm:tt $($rest:tt)*) => {
        compile_error!(concat!("no arm of select!, or one too many: `", stringify!($arm), "`"))
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
