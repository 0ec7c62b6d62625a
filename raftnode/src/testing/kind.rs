//! Which variant a value is, and which there are: serde knows both.
//!
//! What there is to tell is told before the first field, so both sides end there, with an "error"
//! that carries it.

use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::ser::{self, Impossible, Serialize, Serializer};

const BOOL: &[&str] = &["false", "true"];
const OPTION: &[&str] = &["None", "Some"];
const UNIT: &[&str] = &["()"];

/// The variant's name; none if values of this type have no variants.
pub(super) fn kind_of(value: &impl Serialize) -> Option<&'static str> {
    match value.serialize(Variant) {
        Ok(never) => match never {},
        Err(Told(kind)) => kind,
    }
}

/// The names of all variants; empty if values of this type have no variants.
pub(super) fn kinds_of<T: DeserializeOwned>() -> &'static [&'static str] {
    T::deserialize(Variants).err().map_or(&[], |Told(kinds)| kinds)
}

/// What was found out.
#[derive(Debug)]
struct Told<T>(T);

/// There is no value of this type.
enum Never {}

impl<T> fmt::Display for Told<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an error: what was asked for has been found out")
    }
}

impl<T: fmt::Debug> std::error::Error for Told<T> {}

impl ser::Error for Told<Option<&'static str>> {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

impl de::Error for Told<&'static [&'static str]> {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

struct Variant;

type Kind<T> = Result<T, Told<Option<&'static str>>>;
type Fields = Impossible<Never, Told<Option<&'static str>>>;

/// Methods for values without variants.
macro_rules! has_no_variants {
    ($($method:ident($type:ty)),+) => {
        $(fn $method(self, _: $type) -> Kind<Never> {
            Err(Told(None))
        })+
    };
}

impl Serializer for Variant {
    type Ok = Never;
    type Error = Told<Option<&'static str>>;
    type SerializeSeq = Fields;
    type SerializeTuple = Fields;
    type SerializeTupleStruct = Fields;
    type SerializeTupleVariant = Fields;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    has_no_variants!(
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8])
    );

    fn serialize_bool(self, value: bool) -> Kind<Never> {
        Err(Told(Some(if value { "true" } else { "false" })))
    }

    fn serialize_none(self) -> Kind<Never> {
        Err(Told(Some("None")))
    }

    fn serialize_some<T: ?Sized + Serialize>(self, _: &T) -> Kind<Never> {
        Err(Told(Some("Some")))
    }

    fn serialize_unit(self) -> Kind<Never> {
        Err(Told(Some("()")))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Kind<Never> {
        Err(Told(Some("()")))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Kind<Never> {
        Err(Told(Some(variant)))
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Kind<Never> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Kind<Never> {
        Err(Told(Some(variant)))
    }

    fn serialize_seq(self, _: Option<usize>) -> Kind<Fields> {
        Err(Told(None))
    }

    fn serialize_tuple(self, _: usize) -> Kind<Fields> {
        Err(Told(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Kind<Fields> {
        Err(Told(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Kind<Fields> {
        Err(Told(Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Kind<Fields> {
        Err(Told(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Kind<Fields> {
        Err(Told(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Kind<Fields> {
        Err(Told(Some(variant)))
    }
}

struct Variants;

type Kinds<T> = Result<T, Told<&'static [&'static str]>>;

impl<'de> Deserializer<'de> for Variants {
    type Error = Told<&'static [&'static str]>;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Kinds<V::Value> {
        Err(Told(&[]))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, _: V) -> Kinds<V::Value> {
        Err(Told(BOOL))
    }

    fn deserialize_option<V: Visitor<'de>>(self, _: V) -> Kinds<V::Value> {
        Err(Told(OPTION))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Kinds<V::Value> {
        Err(Told(UNIT))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Kinds<V::Value> {
        Err(Told(UNIT))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Kinds<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Kinds<V::Value> {
        Err(Told(variants))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle(u64),
        Box { width: u64, height: u64 },
        Line(u64, u64),
    }

    #[derive(Serialize, Deserialize)]
    struct Wrapped(Shape);

    #[test]
    fn a_variant_is_told_by_its_name() {
        let names = ["Point", "Circle", "Box", "Line"];
        let shapes = [Shape::Point, Shape::Circle(1), Shape::Box { width: 1, height: 2 }, Shape::Line(1, 2)];
        assert_eq!(kinds_of::<Shape>(), names);
        assert_eq!(kinds_of::<Wrapped>(), names);
        for (shape, name) in shapes.into_iter().zip(names) {
            assert_eq!(kind_of(&shape), Some(name));
            assert_eq!(kind_of(&Wrapped(shape)), Some(name));
        }
    }

    #[test]
    fn what_has_no_variants_has_no_kind() {
        assert_eq!((kind_of(&7_u64), kinds_of::<u64>()), (None, &[][..]));
        assert_eq!((kind_of(&"text"), kinds_of::<String>()), (None, &[][..]));
        assert_eq!((kind_of(&(1, 2)), kinds_of::<(u8, u8)>()), (None, &[][..]));
    }

    #[test]
    fn serdes_own_variants_count() {
        assert_eq!((kind_of(&true), kinds_of::<bool>()), (Some("true"), BOOL));
        assert_eq!((kind_of(&Some(7)), kinds_of::<Option<u8>>()), (Some("Some"), OPTION));
        assert_eq!((kind_of(&()), kinds_of::<()>()), (Some("()"), UNIT));
        assert_eq!(kind_of(&Err::<(), u8>(1)), Some("Err"));
        assert_eq!(kinds_of::<Result<(), u8>>(), ["Ok", "Err"]);
    }
}
