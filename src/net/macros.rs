//! What the socket types have in common, each written once: the methods that a type's file invokes these for stand there in a
//! comment.

/// The conversions between a socket type, std's type, and the descriptor. The type has `adopt` and `release` for them.
macro_rules! convert {
    ($socket:ident, $inner:ty) => {
        impl From<$inner> for $socket {
            fn from(inner: $inner) -> $socket {
                $socket::adopt(inner)
            }
        }

        impl From<$socket> for $inner {
            fn from(socket: $socket) -> $inner {
                socket.release()
            }
        }

        impl From<OwnedFd> for $socket {
            fn from(fd: OwnedFd) -> $socket {
                $socket::adopt(fd.into())
            }
        }

        impl From<$socket> for OwnedFd {
            fn from(socket: $socket) -> OwnedFd {
                socket.release().into()
            }
        }

        impl IntoRawFd for $socket {
            fn into_raw_fd(self) -> RawFd {
                self.release().into_raw_fd()
            }
        }

        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.get_ref().as_fd()
            }
        }

        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.source.get_ref().as_raw_fd()
            }
        }

        impl fmt::Debug for $socket {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.source.get_ref().fmt(formatter)
            }
        }
    };
}

/// `Read` and `Write` of a stream and of a reference to it.
macro_rules! stream {
    ($socket:ident, $short:expr) => {
        impl Read for &$socket {
            #[inline]
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.source.run(Receive { buffer, taking: Taking::Consume, short: $short })
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.source.run(ReceiveVectored { buffers, short: $short, most: None })
            }
        }

        impl Read for $socket {
            #[inline]
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }

        impl Write for &$socket {
            #[inline]
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                self.source.run(Send { buffer, short: $short })
            }

            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.source.run(SendVectored { buffers, short: $short, most: None })
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Write for $socket {
            #[inline]
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                (&*self).write(buffer)
            }

            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(buffers)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    };
}

/// The methods that every socket type has; `$example` is a line that makes a `socket`.
macro_rules! common {
    ($example:literal) => {
        /// Takes the pending error of the socket, if there is one (SO_ERROR). Does not yield.
        ///
        /// # Errors
        ///
        /// Those of `getsockopt`.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// assert!(socket.take_error()?.is_none());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            self.source.get_ref().take_error()
        }

        /// Closes the socket while others may still hold it. Does not yield.
        ///
        /// Green threads that wait for it get EBADF, as does every later call. The peer sees the end of the
        /// connection unless there are clones of the socket.
        ///
        /// # Errors
        ///
        /// EBADF, if it has been closed before.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// socket.close()?;
        /// assert!(socket.close().is_err());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "cancel_wait")]
        pub fn close(&self) -> io::Result<()> {
            self.source.close()
        }
    };
}

/// The methods that every listener has; `$example` is a line that makes a `socket`.
macro_rules! listener {
    ($socket:ident, $inner:ty, $example:literal) => {
        fn adopt(inner: $inner) -> $socket {
            let source = Source::adopted(inner);
            $socket { listening: Listening::new(source.get_ref()), source }
        }

        fn release(self) -> $inner {
            let nonblocking = self.source.nonblocking();
            let inner = self.source.into_inner();
            if self.listening.release() && !nonblocking {
                // It fails for no open descriptor.
                let _ = inner.set_nonblocking(false);
            }
            inner
        }

        /// Makes a second handle on the socket. Both have its mode in common. Does not yield.
        ///
        /// A connection goes to one of the handles. The socket is closed when the last handle is dropped.
        ///
        /// # Errors
        ///
        /// Those of `fcntl`, for instance when no descriptor is left.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// let clone = socket.try_clone()?;
        /// assert_eq!(format!("{:?}", clone.local_addr()?), format!("{:?}", socket.local_addr()?));
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "dup")]
        pub fn try_clone(&self) -> io::Result<$socket> {
            let inner = self.source.get_ref().try_clone()?;
            let listening = self.listening.of_clone(&inner);
            Ok($socket { listening, source: self.source.sibling(inner)? })
        }

        /// Sets whether [`accept`](Self::accept) fails with `WouldBlock` where it would wait. Does not yield.
        ///
        /// # Errors
        ///
        /// None today; the signature is std's.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// socket.set_nonblocking(true)?;
        /// assert_eq!(socket.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "setblocking")]
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.source.set_nonblocking(nonblocking);
            Ok(())
        }
    };
}

/// The methods that every socket type but the listeners has; `$example` is a line that makes a `socket`, and `$read` reads from it.
macro_rules! transfer {
    ($socket:ident, $inner:ty, $example:literal, $read:literal) => {
        fn adopt(inner: $inner) -> $socket {
            let timeouts = [
                (Direction::Read, inner.read_timeout().unwrap_or(None)),
                (Direction::Write, inner.write_timeout().unwrap_or(None)),
            ];
            let source = Source::adopted(inner);
            for (direction, timeout) in timeouts {
                source.set_timeout(direction, timeout);
            }
            $socket { source }
        }

        fn release(self) -> $inner {
            self.source.into_inner()
        }

        /// Makes a second handle on the socket. Both have its timeouts and its mode in common. Does not yield.
        ///
        /// The socket is closed when the last handle is dropped.
        ///
        /// # Errors
        ///
        /// Those of `fcntl`, for instance when no descriptor is left.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// let clone = socket.try_clone()?;
        /// drop(socket);
        /// assert!(clone.take_error()?.is_none());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "dup")]
        pub fn try_clone(&self) -> io::Result<$socket> {
            let inner = self.source.get_ref().try_clone()?;
            Ok($socket { source: self.source.sibling(inner)? })
        }

        /// Sets whether calls that would wait fail with `WouldBlock` instead. Does not yield.
        ///
        /// # Errors
        ///
        /// Those of `ioctl`.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// socket.set_nonblocking(true)?;
        #[doc = concat!("assert_eq!(", $read, ".unwrap_err().kind(), std::io::ErrorKind::WouldBlock);")]
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "setblocking")]
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            // The transfers ask for no wait each time, so this is for whoever gets the descriptor.
            self.source.get_ref().set_nonblocking(nonblocking)?;
            self.source.set_nonblocking(nonblocking);
            Ok(())
        }

        /// Sets how long a call that reads waits at most; `None` is for ever. Does not yield.
        ///
        /// A call whose time is over fails with `WouldBlock`, as it does with std on Linux.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a timeout of zero.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::time::Duration;
        ///
        #[doc = $example]
        /// socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        /// assert_eq!(socket.read_timeout()?, Some(Duration::from_millis(5)));
        /// assert!(socket.set_read_timeout(Some(Duration::ZERO)).is_err());
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "settimeout")]
        pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.source.get_ref().set_read_timeout(timeout)?;
            self.source.set_timeout(Direction::Read, timeout);
            Ok(())
        }

        /// Sets how long a call that writes waits at most; `None` is for ever. Does not yield.
        ///
        /// A call whose time is over fails with `WouldBlock`, as it does with std on Linux.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a timeout of zero.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::time::Duration;
        ///
        #[doc = $example]
        /// socket.set_write_timeout(Some(Duration::from_secs(1)))?;
        /// assert_eq!(socket.write_timeout()?, Some(Duration::from_secs(1)));
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.source.get_ref().set_write_timeout(timeout)?;
            self.source.set_timeout(Direction::Write, timeout);
            Ok(())
        }

        /// Returns how long a call that reads waits at most. Does not yield.
        ///
        /// # Errors
        ///
        /// None today; the signature is std's.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// assert_eq!(socket.read_timeout()?, None);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "gettimeout")]
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.source.timeout(Direction::Read))
        }

        /// Returns how long a call that writes waits at most. Does not yield.
        ///
        /// # Errors
        ///
        /// None today; the signature is std's.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $example]
        /// assert_eq!(socket.write_timeout()?, None);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.source.timeout(Direction::Write))
        }
    };
}

/// The two methods of an option of the kernel's, with the call on std's type and an example.
macro_rules! option {
    ($set:ident, $get:ident, $value:ty, $example:literal, $what:literal, $make:literal) => {
        #[doc = concat!("Sets ", $what, ". Does not yield.")]
        ///
        /// # Errors
        ///
        /// Those of `setsockopt`.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $make]
        #[doc = concat!("socket.", stringify!($set), "(", stringify!($example), ")?;")]
        #[doc = concat!("assert_eq!(socket.", stringify!($get), "()?, ", stringify!($example), ");")]
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn $set(&self, value: $value) -> io::Result<()> {
            self.source.get_ref().$set(value)
        }

        #[doc = concat!("Returns ", $what, ". Does not yield.")]
        ///
        /// # Errors
        ///
        /// Those of `getsockopt`.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = $make]
        #[doc = concat!("assert_ne!(socket.", stringify!($get), "()?, ", stringify!($example), ");")]
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn $get(&self) -> io::Result<$value> {
            self.source.get_ref().$get()
        }
    };
}
