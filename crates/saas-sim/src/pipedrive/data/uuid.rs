//! UUIDs for leads: each made from a number, and the number found again from it.

use super::base::mix;

const BITS: u32 = 48;
const MASK: u64 = (1 << BITS) - 1;
/// Any odd number is a bijection modulo a power of two.
const TIMES: u64 = 0x5851_f42d_4c95;

/// The name of lead number `id`.
pub(crate) fn of(seed: u64, id: u64) -> String {
    let head = (id.wrapping_mul(TIMES) ^ mix(seed)) & MASK;
    let tail = tail(seed, head);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        head >> 16,
        head & 0xffff,
        tail >> 52,
        0x8000 | ((tail >> 36) & 0x3fff),
        tail & MASK
    )
}

/// The number behind a name; `None` when no number has it.
pub(crate) fn parse(seed: u64, text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let head = u64::from_str_radix(text.get(..8)?, 16).ok()? << 16
        | u64::from_str_radix(text.get(9..13)?, 16).ok()?;
    let id = ((head ^ mix(seed)) & MASK).wrapping_mul(inverse()) & MASK;
    (of(seed, id) == text).then_some(id)
}

fn tail(seed: u64, head: u64) -> u64 {
    mix(seed.rotate_left(17) ^ head)
}

/// What undoes the multiplication, by Newton's steps, each of which doubles the right bits.
fn inverse() -> u64 {
    let mut found = TIMES;
    for _ in 0..5 {
        found = found.wrapping_mul(2_u64.wrapping_sub(TIMES.wrapping_mul(found)));
    }
    found & MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_number() {
        for id in [1, 2, 500, 1_000_000, MASK] {
            let name = of(9, id);
            assert_eq!(parse(9, &name), Some(id), "{name}");
            assert_eq!(name.len(), 36);
            assert_eq!(parse(8, &name), None, "another account's name");
        }
        assert_eq!(parse(9, "nonsense"), None);
    }
}
