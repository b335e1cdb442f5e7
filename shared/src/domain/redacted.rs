//! `Debug` for structs that hold secrets. Owns: that what is formatted into a log or a failed assertion shows only fields that
//! are named here, so that a field which is added later is hidden, too.

/// Implements `Debug` for a type, showing these fields only.
macro_rules! debug_without_secrets {
    ($type:ty: $($field:ident),*) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use debug_without_secrets;
