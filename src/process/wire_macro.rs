//! Values of your own that can travel.

/// Implements [`Wire`](crate::process::Wire) for a struct or an enum of your own, whose fields are.
///
/// It names the fields of a type that is declared elsewhere; those without a name get one here. An enum has 256 variants at most. For a type
/// with parameters, implement `Wire` by hand.
///
/// # Examples
///
/// ```
/// #[derive(Debug, PartialEq)]
/// struct Page {
///     address: String,
///     length: u64,
/// }
/// greenloop::wire!(Page { address, length });
///
/// #[derive(Debug, PartialEq)]
/// struct Celsius(f64);
/// greenloop::wire!(Celsius(degrees));
///
/// #[derive(Debug, PartialEq)]
/// enum Message {
///     Fetch(String),
///     Fetched { page: Page, heat: Celsius },
///     Stop,
/// }
/// greenloop::wire!(enum Message { Fetch(address), Fetched { page, heat }, Stop });
///
/// let (sender, receiver) = greenloop::process::channel::<Message>()?;
/// sender.send(&Message::Fetch("/".to_owned()))?;
/// sender.send(&Message::Stop)?;
/// assert_eq!(receiver.recv()?, Message::Fetch("/".to_owned()));
/// assert_eq!(receiver.recv()?, Message::Stop);
/// # Ok::<(), std::io::Error>(())
/// ```
#[macro_export]
macro_rules! wire {
    (enum $name:ident { $($variant:ident $(($($place:ident),+ $(,)?))? $({ $($field:ident),* $(,)? })?),+ $(,)? }) => {
        const _: () = {
            #[repr(u8)]
            enum Tag {
                $($variant),+
            }

            impl $crate::process::Wire for $name {
                fn put<'a>(&'a self, into: &mut $crate::process::Outgoing<'a>) {
                    match self {
                        $($name::$variant $(($($place),+))? $({ $($field),* })? => {
                            into.put_bytes(&[Tag::$variant as u8]);
                            $($($crate::process::Wire::put($place, into);)+)?
                            $($($crate::process::Wire::put($field, into);)*)?
                        })+
                    }
                }

                fn take(from: &mut $crate::process::Incoming<'_>) -> ::core::option::Option<$name> {
                    let [tag] = *from.take_bytes(1)? else { return ::core::option::Option::None };
                    $(if tag == Tag::$variant as u8 {
                        $($(let $place = $crate::process::Wire::take(from)?;)+)?
                        $($(let $field = $crate::process::Wire::take(from)?;)*)?
                        return ::core::option::Option::Some($name::$variant $(($($place),+))? $({ $($field),* })?);
                    })+
                    ::core::option::Option::None
                }
            }
        };
    };
    (struct $name:ident $($fields:tt)?) => {
        $crate::wire!($name $($fields)?);
    };
    ($name:ident $(($($place:ident),+ $(,)?))? $({ $($field:ident),* $(,)? })?) => {
        impl $crate::process::Wire for $name {
            fn put<'a>(&'a self, into: &mut $crate::process::Outgoing<'a>) {
                let $name $(($($place),+))? $({ $($field),* })? = self;
                $($($crate::process::Wire::put($place, into);)+)?
                $($($crate::process::Wire::put($field, into);)*)?
            }

            fn take(from: &mut $crate::process::Incoming<'_>) -> ::core::option::Option<$name> {
                $($(let $place = $crate::process::Wire::take(from)?;)+)?
                $($(let $field = $crate::process::Wire::take(from)?;)*)?
                ::core::option::Option::Some($name $(($($place),+))? $({ $($field),* })?)
            }
        }
    };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "wire! takes the name of a type that is declared elsewhere, and the names of its fields: `wire!(Page { address, length })`, \
             `wire!(Celsius(degrees))`, `wire!(enum Message { Fetch(address), Stop })`"
        );
    };
}
