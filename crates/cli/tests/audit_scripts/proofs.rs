//! What can be done to the proof of an event, to the event and to the key.

use super::Row;
use super::log::{EVENTS, Key, Proof, root_at};

const FOREIGN: &str = "— witness.example/w AQIDBHh4eHg=\n";

pub(crate) const DAMAGES: &[Row<Proof>] = &[
    ("none", 0, |_| {}),
    // The event.
    ("event without its newline", 0, |proof| {
        proof.cut("event", 1);
    }),
    ("event with two newlines", 2, |proof| {
        proof.append("event", "\n");
    }),
    ("event with CRLF", 1, |proof| {
        proof.replace("event", "\n", "\r\n");
    }),
    ("event behind a mark of byte order", 1, |proof| {
        proof.replace("event", "{", "\u{feff}{");
    }),
    ("event with a NUL", 1, |proof| {
        proof.replace("event", "\n", "\0\n");
    }),
    ("event with a newline within", 2, |proof| {
        proof.replace("event", ",\"log", "\n,\"log");
    }),
    ("event whose newline moved inside", 2, |proof| {
        proof.cut("event", 1);
        proof.replace("event", ",\"log", "\n,\"log");
    }),
    ("event behind its newline", 2, |proof| {
        proof.cut("event", 1);
        proof.replace("event", "{", "\n{");
    }),
    ("no event", 2, |proof| proof.write("event", "")),
    ("event of a newline", 2, |proof| proof.write("event", "\n")),
    ("another event", 1, |proof| {
        proof.replace("event", "allowed", "refused");
    }),
    ("an event too long", 2, |proof| {
        proof.write("event", "x".repeat(60_001));
    }),
    // The key.
    ("key without a newline", 0, |proof| proof.cut("vkey", 1)),
    ("key with an empty line", 0, |proof| {
        proof.append("vkey", "\n");
    }),
    ("key with another line", 2, |proof| {
        proof.append("vkey", "x\n");
    }),
    ("key with CRLF", 2, |proof| {
        proof.replace("vkey", "\n", "\r\n");
    }),
    ("key with a blank", 2, |proof| {
        proof.replace("vkey", "\n", " \n");
    }),
    ("key of another id", 2, |proof| {
        proof.replace("vkey", "f80c4422", "00000000");
    }),
    ("key id in capitals", 2, |proof| {
        proof.replace("vkey", "f80c", "F80C");
    }),
    ("key of another name", 2, |proof| {
        proof.write("vkey", Key::of_other_log().vkey());
    }),
    ("another key", 5, |proof| {
        proof.write("vkey", Key::stranger().vkey());
    }),
    // What is added, and the index.
    ("another format", 2, |proof| {
        proof.replace("proof", "@v1", "@v2");
    }),
    ("something added", 0, |proof| {
        proof.replace("proof", "index", "extra aGVsbG8=\nindex");
    }),
    ("nothing added", 0, |proof| {
        proof.replace("proof", "index", "extra \nindex");
    }),
    ("something odd added", 2, |proof| {
        proof.replace("proof", "index", "extra ###\nindex");
    }),
    ("something added twice", 2, |proof| {
        proof.replace("proof", "index", "extra \nextra \nindex");
    }),
    ("octal index", 2, |proof| {
        proof.replace("proof", "index 9", "index 011");
    }),
    ("index with a zero", 2, |proof| {
        proof.replace("proof", "index 9", "index 09");
    }),
    ("index with a sign", 2, |proof| {
        proof.replace("proof", "index 9", "index +9");
    }),
    ("index before the first", 2, |proof| {
        proof.replace("proof", "index 9", "index -3");
    }),
    ("index with a line below", 2, |proof| {
        proof.replace("proof", "index 9", "index 0_9");
    }),
    ("index behind two blanks", 2, |proof| {
        proof.replace("proof", "index 9", "index  9");
    }),
    ("index before a blank", 2, |proof| {
        proof.replace("proof", "index 9", "index 9 ");
    }),
    ("index without its word", 2, |proof| {
        proof.replace("proof", "index 9", "9");
    }),
    ("index in other digits", 2, |proof| {
        proof.replace("proof", "index 9", "index ٩");
    }),
    ("index too large", 2, |proof| {
        proof.replace("proof", "index 9", "index 18446744073709551625");
    }),
    ("no index", 2, |proof| {
        proof.replace("proof", "index 9\n", "");
    }),
    ("another index", 1, |proof| {
        proof.replace("proof", "index 9", "index 8");
    }),
    ("index behind the end", 1, |proof| {
        proof.replace("proof", "index 9", "index 12");
    }),
    // The path.
    ("a hash less", 1, |proof| {
        proof.change("proof", without_last_hash);
    }),
    ("a hash more", 1, |proof| {
        proof.replace("proof", "\n\n", &format!("\n{HASH}\n\n"));
    }),
    ("64 hashes", 2, |proof| {
        proof.replace(
            "proof",
            "\n\n",
            &format!("{}\n\n", format!("\n{HASH}").repeat(61)),
        );
    }),
    ("a hash before a blank", 2, |proof| {
        proof.replace("proof", "\n\n", " \n\n");
    }),
    ("a hash without its end", 2, |proof| {
        proof.replace("proof", "=\n\n", "\n\n");
    }),
    ("a hash of 31 bytes", 2, |proof| {
        proof.replace("proof", "\n\n", &format!("\n{}==\n\n", &HASH[..42]));
    }),
    ("a hash in another form", 2, |proof| {
        proof.replace("proof", "\n\n", &format!("\n{}B=\n\n", &HASH[..42]));
    }),
    // The checkpoint.
    ("proof with CRLF", 2, |proof| {
        proof.change("proof", |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace('\n', "\r\n")
                .into()
        });
    }),
    ("proof behind a mark of byte order", 2, |proof| {
        proof.replace("proof", "c2sp", "\u{feff}c2sp");
    }),
    ("proof without its last newline", 2, |proof| {
        proof.cut("proof", 1);
    }),
    ("proof with an empty line", 2, |proof| {
        proof.append("proof", "\n");
    }),
    ("proof with garbage", 2, |proof| {
        proof.append("proof", "garbage\n");
    }),
    ("proof with a NUL", 2, |proof| proof.append("proof", "\0")),
    ("proof that is not UTF-8", 2, |proof| {
        proof.append("proof", FOREIGN.replace("/w", "/?").into_bytes());
        proof.change("proof", |bytes| {
            bytes
                .into_iter()
                .map(|b| if b == b'?' { 0xff } else { b })
                .collect()
        });
    }),
    ("size with a zero", 2, |proof| {
        signed_text(proof, "\n12\n", "\n012\n");
    }),
    ("a line more that is signed", 2, |proof| {
        signed_text(proof, "=\n", "=\nmore\n");
    }),
    ("no root", 2, |proof| signed_text(proof, "\n12\n", "\n")),
    ("another root", 1, |proof| {
        let other = Key::of_log().note(EVENTS, &[5; 32]);
        proof.replace("proof", &proof.note(), &other);
    }),
    ("no signature", 2, |proof| proof.sign("")),
    ("a dash that is none", 2, |proof| {
        proof.replace("proof", "—", "-");
    }),
    ("a signature twice", 0, |proof| proof.sign(&own().repeat(2))),
    ("a bad signature behind ours", 5, |proof| {
        proof.sign(&[own(), bad()].concat());
    }),
    ("a bad signature before ours", 5, |proof| {
        proof.sign(&[bad(), own()].concat());
    }),
    ("a signature cut short", 5, |proof| proof.sign(SHORT)),
    ("another key of the name before ours", 0, |proof| {
        proof.sign(&[stranger(), own()].concat());
    }),
    ("another key of the name alone", 5, |proof| {
        proof.sign(&stranger());
    }),
    ("a witness before ours", 0, |proof| {
        proof.sign(&[FOREIGN, &own()].concat());
    }),
    ("99 witnesses before ours", 0, |proof| {
        proof.sign(&(FOREIGN.repeat(99) + &own()));
    }),
    ("100 witnesses before ours", 2, |proof| {
        proof.sign(&(FOREIGN.repeat(100) + &own()));
    }),
    ("a witness alone", 5, |proof| proof.sign(FOREIGN)),
    ("a witness that says nothing", 2, |proof| {
        proof.append("proof", "— witness.example/w MTI=\n");
    }),
    ("a witness with a plus", 2, |proof| {
        proof.append("proof", FOREIGN.replace("/w", "+w"));
    }),
    ("a witness with a control character", 2, |proof| {
        proof.append("proof", FOREIGN.replace("/w", "/\u{1}"));
    }),
    ("a witness with a wide blank", 2, |proof| {
        proof.append("proof", FOREIGN.replace("/w", "/\u{3000}"));
    }),
    ("a witness with a letter", 0, |proof| {
        proof.append("proof", FOREIGN.replace("/w", "/ł"));
    }),
];

/// Of our key, and 8 bytes long.
const SHORT: &str = "— example.com/audit +AxEInh4eHh4eHh4\n";
const HASH: &str = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";

fn text() -> String {
    let note = Key::of_log().note(EVENTS, &root_at(EVENTS));
    let (text, _) = note.rsplit_once("\n\n").unwrap();
    format!("{text}\n")
}

fn own() -> String {
    Key::of_log().signature(&text())
}

fn bad() -> String {
    Key::of_log().signature("another text")
}

fn stranger() -> String {
    Key::stranger().signature(&text())
}

/// Changes what is signed, and signs it.
fn signed_text(proof: &Proof, from: &str, to: &str) {
    let text = text().replacen(from, to, 1);
    let signature = Key::of_log().signature(&text);
    proof.replace("proof", &proof.note(), &format!("{text}\n{signature}"));
}

fn without_last_hash(proof: Vec<u8>) -> Vec<u8> {
    let proof = String::from_utf8(proof).unwrap();
    let (head, note) = proof.split_once("\n\n").unwrap();
    let (head, _) = head.rsplit_once('\n').unwrap();
    format!("{head}\n\n{note}").into()
}
