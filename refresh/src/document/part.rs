//! A part of the document: an object in which fields of other versions survive.

/// Declares a part of the document: an object in which fields of other versions survive.
macro_rules! part {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)+
            /// Fields of other versions.
            #[serde(flatten)]
            pub other: Map<String, Value>,
        }

        impl Bounded for $name {
            fn is_bounded(&self) -> bool {
                true $(&& self.$field.is_bounded())+
            }
        }
    };
}

pub(super) use part;
