//! Fields that the company added itself, named by 40 hex digits.

use super::base::{hash, mix};
use super::entity::Table;
use super::json::{self, Object};
use super::words::{CURRENCY, PRODUCT};

#[derive(Debug)]
pub(crate) struct CustomField {
    pub(crate) key: String,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The id of the first option of an enum or set.
    pub(crate) first_option: u64,
    pub(crate) options: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Varchar,
    Double,
    Monetary,
    Enum,
    Set,
    Date,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Varchar => "varchar",
            Self::Double => "double",
            Self::Monetary => "monetary",
            Self::Enum => "enum",
            Self::Set => "set",
            Self::Date => "date",
        }
    }
}

const DEALS: &[(&str, Kind, &[&str])] = &[
    ("Budget", Kind::Monetary, &[]),
    ("Segment", Kind::Enum, &["Small", "Middle", "Large"]),
    ("Reference", Kind::Varchar, &[]),
    ("Go-live", Kind::Date, &[]),
];
const PERSONS: &[(&str, Kind, &[&str])] = &[
    ("Role in purchase", Kind::Varchar, &[]),
    ("Interests", Kind::Set, &["Price", "Service", "Speed", "Safety"]),
];
const ORGANIZATIONS: &[(&str, Kind, &[&str])] =
    &[("Tier", Kind::Enum, &["A", "B", "C"]), ("Score", Kind::Double, &[])];
const PRODUCTS: &[(&str, Kind, &[&str])] = &[("SKU group", Kind::Varchar, &[])];

impl CustomField {
    /// The fields of one kind of row, in order of their keys.
    pub(crate) fn all(seed: u64, table: Table) -> Vec<Self> {
        let wanted = match table {
            Table::Deals => DEALS,
            Table::Persons => PERSONS,
            Table::Organizations => ORGANIZATIONS,
            Table::Products => PRODUCTS,
            _ => &[],
        };
        let mut fields: Vec<_> = wanted
            .iter()
            .zip(1_u64..)
            .map(|(&(name, kind, options), nth)| {
                let first = hash(seed, table, u64::MAX - nth);
                let (second, third) = (mix(first), mix(mix(first)) >> 32);
                Self {
                    key: format!("{first:016x}{second:016x}{third:08x}"),
                    name,
                    kind,
                    first_option: 100 * (table as u64 + 1) + 10 * nth,
                    options,
                }
            })
            .collect();
        fields.sort_by(|a, b| a.key.cmp(&b.key));
        fields
    }

    /// Writes the value for a row, in the shape of version 2. One in four is empty.
    fn write(&self, bits: u64, out: &mut Vec<u8>) {
        if bits & 3 == 0 {
            out.extend_from_slice(b"null");
            return;
        }
        let bits = bits >> 2;
        let options = self.options.len() as u64;
        match self.kind {
            Kind::Varchar => json::string(out, PRODUCT[(bits % 12) as usize]),
            Kind::Double => json::int(out, bits % 1_000),
            Kind::Date => {
                out.push(b'"');
                json::date(out, 20_000 + (bits % 800) as i64);
                out.push(b'"');
            }
            Kind::Enum => json::int(out, self.first_option + bits % options),
            Kind::Set => {
                out.push(b'[');
                json::int(out, self.first_option);
                if bits & 1 == 1 {
                    out.push(b',');
                    json::int(out, self.first_option + 1 + bits % (options - 1));
                }
                out.push(b']');
            }
            Kind::Monetary => {
                let mut money = Object::open(out);
                money.str("currency", CURRENCY[(bits >> 40) as usize % 4]);
                money.int("value", bits % 100_000);
                money.close();
            }
        }
    }
}

/// The `custom_fields` object of a row.
pub(crate) fn write(fields: &[CustomField], bits: u64, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    for (field, nth) in fields.iter().zip(1_u64..) {
        field.write(mix(bits ^ nth), object.key(&field.key));
    }
    object.close();
}
