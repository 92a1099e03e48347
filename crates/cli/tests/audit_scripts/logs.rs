//! What can be done to a log.

use std::fs;
use std::os::unix::fs::symlink;

use super::Row;
use super::log::{EVENTS, Key, Log, line, listed, root_at, segment};

const LIST: &str = "checkpoints.jsonl";
const NEWEST: &str = "checkpoint";
const FIRST: &str = "segments/00000000000000000000.jsonl";
const SECOND: &str = "segments/00000000000000000004.jsonl";
const LAST: &str = "segments/00000000000000000008.jsonl";
const FOREIGN: &str = "— witness.example/w AQIDBHh4eHg=\n";

pub(crate) const DAMAGES: &[Row<Log>] = &[
    ("none", 0, |_| {}),
    // The key.
    ("key without a newline", 0, |log| log.cut("vkey", 1)),
    ("key with an empty line", 0, |log| log.append("vkey", "\n")),
    ("key with another line", 2, |log| log.append("vkey", "x\n")),
    ("key with CRLF", 2, |log| log.replace("vkey", "\n", "\r\n")),
    ("key with a blank", 2, |log| {
        log.replace("vkey", "\n", " \n");
    }),
    ("key behind a mark of byte order", 2, |log| {
        log.replace("vkey", "example", "\u{feff}example");
    }),
    ("key id in capitals", 2, |log| {
        log.replace("vkey", "f80c", "F80C");
    }),
    ("key of another name", 1, |log| {
        log.write("vkey", Key::of_other_log().vkey());
    }),
    ("another key", 5, |log| {
        log.write("vkey", Key::stranger().vkey());
    }),
    ("no key", 2, |log| log.remove("vkey")),
    // The newest checkpoint.
    ("no newest", 1, |log| log.remove(NEWEST)),
    ("newest is garbage", 1, |log| log.write(NEWEST, "garbage\n")),
    ("newest is no text", 1, |log| log.append(NEWEST, b"\xff\n")),
    ("newest is a directory", 1, |log| {
        make_directory(log, NEWEST);
    }),
    ("newest is an older one", 0, |log| {
        log.write(NEWEST, note(7));
    }),
    ("newest is of a larger log", 4, |log| {
        log.write(NEWEST, Key::of_log().note(20, &[5; 32]));
    }),
    ("newest is of another root", 1, |log| {
        log.write(NEWEST, Key::of_log().note(EVENTS, &[5; 32]));
    }),
    ("newest by another key", 5, |log| {
        log.write(NEWEST, Key::stranger().note(EVENTS, &root_at(EVENTS)));
    }),
    ("newest without its newline", 1, |log| log.cut(NEWEST, 1)),
    ("newest with an empty line", 1, |log| {
        log.append(NEWEST, "\n");
    }),
    ("newest with a control character", 1, |log| {
        log.append(NEWEST, FOREIGN.replace("/w", "/\u{1}"));
    }),
    ("a signature twice", 1, |log| {
        log.change(NEWEST, |note| {
            let note = String::from_utf8(note).unwrap();
            let (_, signature) = note.rsplit_once("\n\n").unwrap();
            [&note, signature].concat().into()
        });
    }),
    ("a witness", 0, |log| log.append(NEWEST, FOREIGN)),
    ("a witness that says nothing", 1, |log| {
        log.append(NEWEST, "— witness.example/w MTI=\n");
    }),
    ("99 witnesses", 0, |log| log.append(NEWEST, witnesses(99))),
    ("100 witnesses", 1, |log| log.append(NEWEST, witnesses(100))),
    ("a second signature that is bad", 5, |log| {
        log.append(NEWEST, Key::of_log().signature("another text"));
    }),
    ("no checkpoint at all", 2, |log| {
        log.remove(NEWEST);
        log.remove(LIST);
    }),
    // The list of checkpoints.
    ("two roots of one size", 1, |log| {
        log.change_lines(LIST, |list| list.insert(3, other_root(7)));
    }),
    ("another root", 1, |log| {
        log.change_lines(LIST, |list| list[3] = other_root(7));
    }),
    ("a root of nothing", 1, |log| {
        log.change_lines(LIST, |list| list[0] = other_root(0));
    }),
    ("a checkpoint twice", 1, |log| {
        log.change_lines(LIST, |list| list.insert(2, list[2].clone()));
    }),
    ("checkpoints out of order", 1, |log| {
        log.change_lines(LIST, |list| list.swap(1, 2));
    }),
    ("a checkpoint less", 0, |log| {
        log.change_lines(LIST, |list| drop(list.remove(2)));
    }),
    ("a list that ends early", 3, |log| {
        log.change_lines(LIST, |list| drop(list.pop()));
    }),
    ("no list", 3, |log| log.remove(LIST)),
    ("a link to no list", 3, |log| {
        log.remove(LIST);
        symlink("gone", log.path(LIST)).unwrap();
    }),
    ("a list that is a directory", 2, |log| {
        make_directory(log, LIST);
    }),
    ("a torn list", 3, |log| log.append(LIST, "{\"size\":")),
    ("a time that is none", 1, |log| {
        log.replace(LIST, "2026-09-21T", "yesterday ");
    }),
    ("a time that never comes", 1, |log| {
        log.replace(LIST, "2026-09-21T14:13:20", "9999-12-31T23:59:60");
    }),
    ("a time of a zone", 0, |log| {
        log.replace(LIST, "000000Z", "000000+02:00");
    }),
    ("a size that is not the note's", 1, |log| {
        log.replace(LIST, "\"size\":4", "\"size\":3");
    }),
    ("a size twice", 1, |log| {
        log.replace(LIST, "\"size\":4", "\"size\":4,\"size\":4");
    }),
    ("a field more", 0, |log| {
        log.replace(LIST, "{\"size\":4", "{\"x\":[\"\\ud800\"],\"size\":4");
    }),
    ("a listed note by another key", 5, |log| {
        log.change_lines(LIST, |list| {
            list[3] = listed(7, &Key::stranger().note(7, &root_at(7)));
        });
    }),
    ("a listed note of another log", 1, |log| {
        log.change_lines(LIST, |list| {
            list[3] = listed(7, &Key::of_other_log().note(7, &root_at(7)));
        });
    }),
    // What finished segments hash to.
    ("wrong kept hashes", 1, |log| {
        log.write("subtrees.jsonl", subtree(&[5; 32]));
    }),
    ("right kept hashes", 0, |log| {
        log.write("subtrees.jsonl", subtree(&root_at(4)));
    }),
    ("kept hashes of another number", 0, |log| {
        let hashes = subtree(&[5; 32]).replace("\"end\":4", "\"end\":6");
        log.write("subtrees.jsonl", hashes);
    }),
    ("unreadable kept hashes", 0, |log| {
        log.write("subtrees.jsonl", "x\n{}\n\n");
    }),
    // Segments.
    ("a line changed", 1, |log| {
        log.replace(SECOND, "allowed", "denied_");
    }),
    ("a line less", 1, |log| {
        log.change_lines(SECOND, |lines| drop(lines.remove(1)));
    }),
    ("a line twice", 1, |log| {
        log.change_lines(SECOND, |lines| lines.insert(1, lines[1].clone()));
    }),
    ("lines out of order", 1, |log| {
        log.change_lines(LAST, |lines| lines.swap(2, 3));
    }),
    ("a line that is none", 1, |log| {
        log.replace(LAST, "{\"seq\":9", "\"seq\":9");
    }),
    ("the last line cut off", 4, |log| log.cut(LAST, 30)),
    ("the last line gone", 4, |log| {
        log.change_lines(LAST, |lines| drop(lines.pop()));
    }),
    ("a cut within the log", 1, |log| log.cut(FIRST, 30)),
    ("the first segment gone", 1, |log| log.remove(FIRST)),
    ("a segment gone", 1, |log| log.remove(SECOND)),
    ("the last segment gone", 4, |log| log.remove(LAST)),
    ("no segments", 2, |log| {
        fs::remove_dir_all(log.path("segments")).unwrap();
    }),
    ("a link to no segment", 2, |log| {
        log.remove(SECOND);
        symlink("gone", log.path(SECOND)).unwrap();
    }),
    ("a changed line before a link to nothing", 2, |log| {
        log.replace(SECOND, "allowed", "denied_");
        log.remove(LAST);
        symlink("gone", log.path(LAST)).unwrap();
    }),
    ("an empty segment at the end", 0, |log| {
        log.write(&segment(12), "");
    }),
    ("a segment that does not follow", 1, |log| {
        log.write(&segment(20), line(20, ""));
    }),
    ("a segment of no number", 0, |log| {
        log.write("segments/99999999999999999999.jsonl", "x");
        log.write("segments/0000000000000000000x.jsonl", "x");
        log.write(&(segment(4) + ".torn"), "x");
    }),
    ("lines removed, and told", 0, |log| log.remove_lines(0)),
    ("lines removed, and not told", 6, |log| {
        log.remove_lines(0);
        log.remove_lines(4);
    }),
    ("a hash in the place of lines", 1, |log| log.remove_lines(4)),
    ("half a hash", 1, |log| {
        log.remove_lines(0);
        log.cut("segments/00000000000000000000.hashes", 5);
    }),
    ("invented hashes", 1, |log| {
        log.write("segments/00000000000000000012.hashes", [0; 64]);
    }),
    // Behind what is signed.
    ("a line more", 0, |log| log.append(LAST, line(12, ""))),
    ("a line of a zone", 0, |log| {
        log.append(LAST, line(12, "").replace("Z\"", "+00:00\""));
    }),
    ("a line by another's number", 1, |log| {
        log.append(LAST, line(13, ""));
    }),
    ("an old line", 6, |log| {
        let old = line(12, "").replace("\"time\":\"20", "\"time\":\"19");
        log.append(LAST, old);
    }),
    ("a line without a time", 6, |log| {
        log.append(LAST, line(12, "").replace("time", "when"));
    }),
    ("a line with two times", 6, |log| {
        log.append(LAST, line(12, ",\"time\":\"\""));
    }),
    ("a removal that says little", 0, |log| {
        let removed = ",\"type\":\"external_api.audit.removed\"";
        log.append(LAST, line(12, removed));
        log.append(LAST, line(13, &format!("{removed},\"metadata\":7")));
        let odd = format!("{removed},\"metadata\":{{\"first\":\"0\",\"count\":-5}}");
        log.append(LAST, line(14, &odd));
    }),
    ("a line with its number twice", 3, |log| {
        log.append(LAST, line(12, ",\"seq\":12"));
    }),
    ("a line with its log twice", 3, |log| {
        log.append(LAST, line(12, ",\"log\":\"x\""));
    }),
    ("a line with a fraction", 3, |log| {
        log.append(LAST, line(12, "").replace(":12,", ":12.0,"));
    }),
    ("a line behind a mark of byte order", 3, |log| {
        log.append(LAST, ["\u{feff}", &line(12, "")].concat());
    }),
    ("a line with what is no number", 3, |log| {
        log.append(LAST, line(12, ",\"x\":NaN"));
    }),
    ("a line with half a character", 3, |log| {
        log.append(LAST, line(12, ",\"x\":\"\\ud800\""));
    }),
    ("a line with a number beyond all", 3, |log| {
        log.append(LAST, line(12, ",\"x\":1e999"));
    }),
    ("a line that is too deep", 3, |log| {
        let deep = ["[".repeat(200), "]".repeat(200)].concat();
        log.append(LAST, line(12, &format!(",\"x\":{deep}")));
    }),
    ("a line with a NUL", 3, |log| {
        log.append(LAST, line(12, ",\"x\":\"\0\""));
    }),
    ("a line that is not UTF-8", 3, |log| {
        let line = line(12, ",\"x\":\"?\"").into_bytes();
        log.append(
            LAST,
            line.into_iter()
                .map(|b| if b == b'?' { 0xff } else { b })
                .collect::<Vec<_>>(),
        );
    }),
    ("a line of another log", 3, |log| {
        log.append(
            LAST,
            line(12, "").replace("example.com/audit", "example.com/other"),
        );
    }),
    ("a line without its end", 3, |log| {
        log.append(LAST, line(12, "").trim_end());
    }),
    ("a line that is too long", 3, |log| {
        log.append(
            LAST,
            line(12, &format!(",\"x\":\"{}\"", "x".repeat(60_000))),
        );
    }),
    ("garbage before a line", 1, |log| {
        log.append(LAST, ["x\n", &line(12, "")].concat());
    }),
    ("a torn tail of an old list", 3, |log| {
        log.append(LAST, "{\"seq\":12");
        log.change_lines(LIST, |list| drop(list.pop()));
    }),
];

fn note(size: u64) -> String {
    Key::of_log().note(size, &root_at(size))
}

fn other_root(size: u64) -> String {
    listed(size, &Key::of_log().note(size, &[5; 32]))
}

fn witnesses(number: usize) -> String {
    (0..number)
        .map(|number| FOREIGN.replace("/w", &format!("/{number}")))
        .collect()
}

fn subtree(root: &[u8; 32]) -> String {
    let root = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, root);
    let time = "2026-09-21T14:13:20.000000Z";
    format!("{{\"first\":0,\"end\":4,\"bytes\":1,\"time\":\"{time}\",\"roots\":[\"{root}\"]}}\n")
}

fn make_directory(log: &Log, name: &str) {
    log.remove(name);
    fs::create_dir(log.path(name)).unwrap();
}
