//! In-kernel tests: a macro registers them beside the code, the kernel runs them.
//!
//! Without the feature `ktest`, and on the host, the macro expands to nothing. The macro stands in this crate because
//! `#[unsafe(link_section)]` is refused in a crate that denies unsafe code, and accepted where it comes from another one.

/// A registered test.
pub struct KTest {
    /// `module::path::name`.
    pub name: &'static str,
    /// The test; it fails by panicking.
    pub run: fn(),
}

/// Registers in-kernel tests: `ktest! { fn name() { assert!(...) } }`. They run as tasks of the booted kernel.
#[cfg(all(feature = "ktest", target_os = "none"))]
#[macro_export]
macro_rules! ktest {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        fn $name() {
            #[used]
            #[unsafe(link_section = ".ktests")]
            static TEST: $crate::KTest =
                $crate::KTest { name: concat!(module_path!(), "::", stringify!($name)), run: $name };
            $body
        }
    )*};
}

/// Registers in-kernel tests: `ktest! { fn name() { assert!(...) } }`. Nothing in this build.
#[cfg(not(all(feature = "ktest", target_os = "none")))]
#[macro_export]
macro_rules! ktest {
    ($($tokens:tt)*) => {};
}

/// The registered tests, in link order.
#[cfg(target_os = "none")]
pub fn ktests() -> &'static [KTest] {
    crate::bare::image::ktests()
}

/// The registered tests: none on the host.
#[cfg(not(target_os = "none"))]
pub fn ktests() -> &'static [KTest] {
    &[]
}
