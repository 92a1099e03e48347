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

    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        if number < DIGITS_8 {
            // The bound is below 2^32.
            let digits = eight_digits(number as u32);
            // Bits of zeros in front, in whole bytes. The last digit stays, a zero or not.
            let zeros = (digits | 1 << 56).trailing_zeros() & !7;
            let digits = (digits | ZEROS) >> zeros;
            self.text(&digits.to_le_bytes(), 8 - zeros as usize / 8);
        } else {
            self.long_number(number);
        }
    }

    #[cold]
    fn long_number(&mut self, number: u64) {
        self.number(number / DIGITS_8);
        // A remainder by the bound is below it.
        let digits = eight_digits((number % DIGITS_8) as u32) | ZEROS;
        self.text(&digits.to_le_bytes(), 8);
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

/// The eight decimal digits of a number below 10^8, one in each byte, the first one lowest: halves
/// of four, two and one digit, each step for all of them at once.
#[inline]
const fn eight_digits(number: u32) -> u64 {
    let number = number as u64;
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    // By 100 and by 10, exact for numbers of four and of two digits.
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

/// Between two members.
pub(super) const SEPARATOR: &str = ", ";
/// The longest member: a separator, a name of 32 in quotes, and two parameters of 3 + 20.
const MEMBER: usize = SEPARATOR.len() + 34 + 2 * 23;
/// The longest piece: a separator, a name of 32 in quotes, and the name of a parameter.
const PIECE: usize = 40;
const DIGITS_8: u64 = 100_000_000;
const ZEROS: u64 = u64::from_le_bytes(*b"00000000");

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
    fn every_number_of_four_digits_is_split_exactly() {
        for number in 0..10_000 {
            assert_eq!(written(number), number.to_string());
            let above = number * 10_000;
            assert_eq!(written(above), above.to_string());
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
