//! Reading the lines of a segment, whatever stands in it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::disk::open_regular;
use crate::Record;

/// The lines of a file. However long one is, no more than a buffer of it is held.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    buffer: Vec<u8>,
    /// What of the buffer was read and not yet given.
    from: usize,
    to: usize,
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Without its newline. Of a line that is too long, its beginning.
    pub(super) bytes: &'a [u8],
    /// How many bytes it takes, with its newline.
    pub(super) length: u64,
    /// It ends in a newline.
    pub(super) ended: bool,
}

impl Line<'_> {
    /// It ends in a newline and is not too long.
    pub(super) const fn is_whole(&self) -> bool {
        self.ended && !self.is_too_long()
    }

    /// No line of a log is as long, whether it ends or not.
    pub(super) const fn is_too_long(&self) -> bool {
        self.length - self.ended as u64 > Record::MAX_LINE as u64
    }
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        open_regular(path).map(Self::from_here)
    }

    /// Those of an open file, from its first on.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        Ok(Self::from_here(file))
    }

    fn from_here(file: File) -> Self {
        Self {
            file,
            buffer: vec![0; BUFFER],
            from: 0,
            to: 0,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut skipped = 0;
        let mut searched = 0;
        loop {
            let found = memchr::memchr(b'\n', &self.buffer[self.from + searched..self.to]);
            if let Some(at) = found {
                return Ok(Some(self.take(searched + at, 1, skipped)));
            }
            searched = self.to - self.from;
            if searched > Record::MAX_LINE {
                // Its beginning stays at the front of the buffer and tells what it is.
                skipped += (searched - Record::MAX_LINE) as u64;
                self.to = self.from + Record::MAX_LINE;
                searched = Record::MAX_LINE;
            }
            if !self.fill()? {
                let rest = (searched > 0).then(|| self.take(searched, 0, skipped));
                return Ok(rest);
            }
        }
    }

    fn take(&mut self, length: usize, newline: usize, skipped: u64) -> Line<'_> {
        let from = self.from;
        self.from += length + newline;
        Line {
            bytes: &self.buffer[from..from + length],
            length: (length + newline) as u64 + skipped,
            ended: newline == 1,
        }
    }

    /// Reads more; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        loop {
            match self.file.read(&mut self.buffer[self.to..]) {
                Ok(read) => {
                    self.to += read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a line says of its own place.
#[derive(Debug, Deserialize)]
struct Place {
    seq: u64,
    log: String,
}

/// What a line says, as whoever asks a log reads it. JSON that no reader takes says nothing: half of
/// a surrogate pair, a number beyond all that is one, a hundred brackets within each other.
pub(super) fn fields(line: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(line).ok()
}

/// Knows the lines of one log.
#[derive(Debug)]
pub(super) struct Known<'a> {
    origin: &'a str,
    /// Lines below this index are signed.
    signed: u64,
    /// What stands between the index and the rest of a line that was written here.
    middle: String,
}

impl<'a> Known<'a> {
    pub(super) fn new(origin: &'a str, signed: u64) -> Self {
        let name = Value::from(origin);
        let middle = format!(",\"log\":{name},");
        Self {
            origin,
            signed,
            middle,
        }
    }

    /// Whether `line` claims to be number `seq` of the log, by its first bytes alone.
    fn begins(&self, line: &[u8], seq: u64) -> bool {
        let rest = line.strip_prefix(b"{\"seq\":");
        let digits = rest.map(|rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
        let Some((rest, digits)) = rest.zip(digits) else {
            return false;
        };
        let number = std::str::from_utf8(&rest[..digits]).map(str::parse);
        number == Ok(Ok(seq)) && rest[digits..].starts_with(self.middle.as_bytes())
    }

    /// Whether `line` is number `seq` of the log; what is wrong with it. What is still to be signed
    /// must be an event that can be read. Of what is signed the hash is checked, so that its place
    /// is enough: it stays the line that it was whatever stands in it.
    pub(super) fn check(&self, line: Line<'_>, seq: u64) -> Result<(), String> {
        if line.is_too_long() {
            return Err("it is too long for a line".to_owned());
        }
        let is_signed = seq < self.signed;
        if is_signed && line.is_whole() && self.begins(line.bytes, seq) {
            return Ok(());
        }
        let place = place(line).filter(|_| is_signed || fields(line.bytes).is_some());
        let place = place.ok_or("it is not a line of a log")?;
        if place.log != self.origin {
            return Err("it is a line of another log".to_owned());
        }
        if place.seq != seq {
            return Err(format!("line {} stands there", place.seq));
        }
        Ok(())
    }

    /// Whether `line` is any line of the log, and can be read.
    pub(super) fn knows(&self, line: Line<'_>) -> bool {
        let own = place(line).is_some_and(|place| place.log == self.origin);
        own && fields(line.bytes).is_some()
    }
}

fn place(line: Line<'_>) -> Option<Place> {
    let text = std::str::from_utf8(line.bytes)
        .ok()
        .filter(|_| line.is_whole())?;
    serde_json::from_str(text).ok()
}

/// More than the longest line.
const BUFFER: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Vec<(Vec<u8>, u64, bool)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut lines = Lines::open(file.path()).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.bytes.to_vec(), line.length, line.is_whole()));
        }
        all
    }

    #[test]
    fn lines_of_all_lengths_are_told_apart() {
        assert_eq!(read(b""), []);
        assert_eq!(read(b"\n"), [(vec![], 1, true)]);
        assert_eq!(
            read(b"ab\ncd"),
            [(b"ab".to_vec(), 3, true), (b"cd".to_vec(), 2, false)]
        );
        for length in [Record::MAX_LINE, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER] {
            let mut content = vec![b'x'; length];
            content.extend(b"\nend\n");
            let all = read(&content);
            assert_eq!(all.len(), 2);
            assert_eq!(all[0].1, length as u64 + 1);
            assert_eq!(all[0].2, length <= Record::MAX_LINE);
            assert!(all[0].0.len() <= BUFFER);
            assert_eq!(all[1], (b"end".to_vec(), 4, true));
        }
        let all = read(&vec![b'x'; 2 * BUFFER]);
        assert_eq!(
            (all.len(), all[0].1, all[0].2),
            (1, 2 * BUFFER as u64, false)
        );
    }

    #[test]
    fn a_line_is_known_by_its_place() {
        let known = Known::new("a/b", 0);
        let line = |bytes: &'static [u8]| Line {
            bytes,
            length: bytes.len() as u64 + 1,
            ended: true,
        };
        let good = line(b"{\"seq\":17,\"log\":\"a/b\",\"id\":1}");
        assert!(known.begins(good.bytes, 17) && known.check(good, 17).is_ok());
        assert!(!known.begins(good.bytes, 1) && !known.begins(good.bytes, 170));
        assert_eq!(known.check(good, 18).unwrap_err(), "line 17 stands there");
        let other = line(b"{\"seq\":17,\"log\":\"a/c\",\"id\":1}");
        assert!(!known.begins(other.bytes, 17) && !known.knows(other));
        assert!(known.check(other, 17).is_err());
        for wrong in [&b""[..], b"{}", b"{\"seq\":17,\"log\":\"a/b\"", b"\xff"] {
            let wrong = Line {
                bytes: wrong,
                ..good
            };
            assert!(!known.begins(wrong.bytes, 17) && known.check(wrong, 17).is_err());
        }
        let long = Line {
            length: Record::MAX_LINE as u64 + 2,
            ..good
        };
        assert_eq!(
            known.check(long, 17).unwrap_err(),
            "it is too long for a line"
        );
        let torn = Line {
            ended: false,
            ..good
        };
        assert!(known.check(torn, 17).is_err() && !known.knows(torn));
    }

    #[test]
    fn what_is_still_to_be_signed_can_be_read() {
        let deep = "[".repeat(20_000) + &"]".repeat(20_000);
        let digits = "9".repeat(5000);
        for value in [r#""\ud800""#, "1e999", &digits, &deep] {
            let begun = format!("{{\"seq\":17,\"log\":\"a/b\",\"y\":{value}}}");
            let turned = format!("{{\"y\":{value},\"seq\":17,\"log\":\"a/b\"}}");
            for text in [begun, turned] {
                let line = Line {
                    bytes: text.as_bytes(),
                    length: text.len() as u64 + 1,
                    ended: true,
                };
                assert!(Known::new("a/b", 17).check(line, 17).is_err());
                assert!(!Known::new("a/b", 17).knows(line));
                assert!(Known::new("a/b", 18).check(line, 17).is_ok());
            }
        }
    }
}
