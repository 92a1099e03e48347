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
        match number {
            0..1_000 => {
                let (digits, zeros) = three_digits(number);
                self.digits(digits, zeros, 3);
            }
            1_000..1_000_000 => {
                let (first, zeros) = three_digits(number / 1_000);
                let (last, _) = three_digits(number % 1_000);
                self.digits(first | last << 24, zeros, 6);
            }
            1_000_000.. => self.long_number(number),
        }
    }

    #[inline(never)]
    fn long_number(&mut self, number: u64) {
        self.number(number / 1_000);
        let (digits, _) = three_digits(number % 1_000);
        self.digits(digits, 0, 3);
    }

    /// Writes `count` digits, the first one lowest, but for the `zeros` in front.
    #[inline]
    fn digits(&mut self, digits: u64, zeros: u8, count: usize) {
        let digits = digits >> (8 * zeros);
        self.text(&digits.to_le_bytes(), count - usize::from(zeros));
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

/// The three digits of a number below 1000, the first one lowest, and how many of them are zeros in
/// front.
#[inline]
fn three_digits(number: u64) -> (u64, u8) {
    let [first, second, third, zeros] = THREE_DIGITS[number as usize];
    let digits = u32::from_le_bytes([first, second, third, 0]);
    (u64::from(digits), zeros)
}

static THREE_DIGITS: [[u8; 4]; 1000] = {
    let mut table = [[0; 4]; 1000];
    let mut number = 0;
    while number < table.len() {
        let zeros = match number {
            0..10 => 2,
            10..100 => 1,
            _ => 0,
        };
        // Each of them is below 10.
        let digits = [number / 100, number / 10 % 10, number % 10];
        let [first, second, third] = [digits[0] as u8, digits[1] as u8, digits[2] as u8];
        table[number] = [b'0' + first, b'0' + second, b'0' + third, zeros];
        number += 1;
    }
    table
};

/// Between two members.
pub(super) const SEPARATOR: &str = ", ";
/// The longest member: a separator, a name of 32 in quotes, and two parameters of 3 + 20.
const MEMBER: usize = SEPARATOR.len() + 34 + 2 * 23;
/// The longest piece: a separator, a name of 32 in quotes, and the name of a parameter.
const PIECE: usize = 40;

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
