//! One line of response fields, written without a call for each of its parts.

use arrayvec::ArrayVec;
use http::HeaderValue;

use crate::in_flight::MAX_PLACES;
use crate::request::MAX_LIMITS;

/// A field's value while it is written: on the stack, so that the value itself is the only
/// allocation. Every member begins with the separator, and the first one's is left out at the end.
#[derive(Debug)]
pub(super) struct Line(ArrayVec<u8, { (MAX_LIMITS + MAX_PLACES) * MEMBER + PIECE }>);

/// A text that stands in many lines. It is copied with all of its room, and then cut down to its
/// length: a copy of a size that the compiler knows is a few instructions, any other one is a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    room: [u8; PIECE],
    len: usize,
}

impl Piece {
    /// `parts` one after the other; `None` where they have no room.
    pub(super) fn of(parts: [&str; 3]) -> Option<Self> {
        let mut text = ArrayVec::<u8, PIECE>::new();
        for part in parts {
            text.try_extend_from_slice(part.as_bytes()).ok()?;
        }
        let mut room = [0; PIECE];
        room[..text.len()].copy_from_slice(&text);
        let len = text.len();
        Some(Self { room, len })
    }
}

impl Line {
    #[inline]
    pub(super) const fn new() -> Self {
        Self(ArrayVec::new_const())
    }

    #[inline]
    pub(super) fn piece(&mut self, piece: &Piece) {
        self.text(&piece.room, piece.len);
    }

    // A call costs as much as the digits do.
    #[inline(always)]
    pub(super) fn number(&mut self, number: u64) {
        match number {
            0..1_000 => {
                let digits = THREE_DIGITS[number as usize];
                self.digits(u64::from(digits), zeros(digits), 3);
            }
            1_000..1_000_000 => {
                let first = THREE_DIGITS[(number / 1_000) as usize];
                let last = THREE_DIGITS[(number % 1_000) as usize];
                let digits = u64::from(first & DIGITS) | u64::from(last) << 24;
                self.digits(digits, zeros(first), 6);
            }
            1_000_000.. => self.long_number(number),
        }
    }

    #[inline(never)]
    fn long_number(&mut self, number: u64) {
        self.number(number / 1_000);
        let digits = THREE_DIGITS[(number % 1_000) as usize];
        self.digits(u64::from(digits), 0, 3);
    }

    /// Writes `count` digits, the first one lowest, but for the `zeros` in front. Whatever stands above
    /// them is cut off.
    #[inline]
    fn digits(&mut self, digits: u64, zeros: u32, count: usize) {
        let digits = digits >> (8 * zeros);
        self.text(&digits.to_le_bytes(), count - zeros as usize);
    }

    /// Copies all of `room`, of which `len` bytes count.
    #[inline]
    pub(super) fn text<const N: usize>(&mut self, room: &[u8; N], len: usize) {
        let end = self.0.len() + len;
        self.0.try_extend_from_slice(room).expect(
            "a member is at most MEMBER bytes, there are no more than fit, and room is left",
        );
        self.0.truncate(end);
    }

    /// The value; `None` where nothing was written.
    #[inline]
    pub(super) fn finish(&self) -> Option<HeaderValue> {
        let value = HeaderValue::from_bytes(self.0.get(SEPARATOR.len()..)?);
        Some(value.expect("names are a-z 0-9 - in quotes, and the rest is digits and separators"))
    }
}

/// For each number below 1000 its three digits as text, the first one lowest, and above them how many
/// of them are zeros in front.
static THREE_DIGITS: [u32; 1000] = {
    let mut table = [0; 1000];
    let mut number = 0;
    while number < table.len() {
        // A number below 1000 is a `u32`, and so is each of its digits.
        let n = number as u32;
        let zeros = if n < 10 { 2 } else { (n < 100) as u32 };
        let digits = (n / 100) | (n / 10 % 10) << 8 | (n % 10) << 16;
        table[number] = digits | 0x30_3030 | zeros << 24;
        number += 1;
    }
    table
};

const fn zeros(digits: u32) -> u32 {
    digits >> 24
}

/// Between two members.
pub(super) const SEPARATOR: &str = ", ";
/// The longest member: a separator, a name of 32 in quotes, and two parameters of 3 + 20.
const MEMBER: usize = SEPARATOR.len() + 34 + 2 * 23;
/// The longest piece: a separator, a name of 32 in quotes, and the name of a parameter.
const PIECE: usize = 40;
/// The digits in [`THREE_DIGITS`].
const DIGITS: u32 = 0xff_ffff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(number: u64) -> String {
        let mut line = Line::new();
        line.text(b", ", 2);
        line.number(number);
        line.finish().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn numbers_at_every_length_are_written_in_full() {
        let powers = (0..20).map(|digits| 10u64.pow(digits));
        for power in powers.chain([u64::from(u32::MAX), u64::MAX]) {
            for number in [
                power - 1,
                power,
                power.saturating_add(1),
                power / 2,
                power / 9,
            ] {
                assert_eq!(written(number), number.to_string());
            }
        }
    }

    #[test]
    fn every_group_of_three_digits_is_written_in_every_place() {
        for number in 0..1_000 {
            for unit in [1, 1_000, 1_000_000, 1_000_000_000] {
                for number in [number * unit, number * unit + 999 * unit * 1_000] {
                    assert_eq!(written(number), number.to_string());
                }
            }
        }
    }

    #[test]
    fn a_line_without_members_is_none() {
        assert!(Line::new().finish().is_none());
    }

    #[test]
    fn a_piece_that_is_too_long_is_none() {
        assert!(Piece::of(["", &"x".repeat(PIECE), ""]).is_some());
        assert!(Piece::of(["", &"x".repeat(PIECE), "x"]).is_none());
    }

    proptest! {
        #[test]
        fn any_number_is_written_as_it_is(number: u64, digits in 0u32..64) {
            let number = number >> digits;
            prop_assert_eq!(written(number), number.to_string());
        }
    }
}
