use proptest::prelude::*;

use super::*;

#[test]
fn replays_the_vectors() {
    let text = include_str!("../../tests/vectors/api_keys.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let key = case["key"].as_str().unwrap();
        let parsed = RawKey::parse(key.as_bytes());
        assert_eq!(parsed.is_ok(), case["valid"].as_bool().unwrap(), "{case}");
        let Ok(parsed) = parsed else { continue };
        assert_eq!(parsed.prefix().as_str(), case["prefix"]);
        assert_eq!(parsed.prefix().brand(), case["brand"]);
        assert_eq!(parsed.prefix().environment().as_str(), case["environment"]);
        assert_eq!(*parsed.expose(), key, "the same key is written again");
    }
}

#[test]
fn the_largest_secret_is_256_ones_and_no_more() {
    let mut bytes = [0; 32];
    let mut largest = *encode(&[0xff; 32]);
    assert_eq!(decode(&largest, &mut bytes), Some(()));
    assert_eq!(bytes, [0xff; 32]);
    *largest.last_mut().unwrap() += 1;
    assert_eq!(decode(&largest, &mut bytes), None);
    assert_eq!(decode(&[b'z'; SECRET], &mut bytes), None);
}

#[test]
fn a_secret_that_overflows_is_refused_although_its_checksum_is_right() {
    let mut text = format!("acme_live_pBakQVyk6bW4_{}", "z".repeat(SECRET)).into_bytes();
    let check = digits(crc32fast::hash(&text));
    text.extend(check);
    assert!(has_shape(&text));
    assert!(RawKey::parse(&text).is_err());
}

#[test]
fn what_is_no_digit_is_refused_although_the_checksum_is_right() {
    let good = format!("acme_live_pBakQVyk6bW4_{}", "0".repeat(SECRET)).into_bytes();
    let whole = |mut text: Vec<u8>| {
        let check = digits(crc32fast::hash(&text));
        text.extend(check);
        text
    };
    assert!(RawKey::parse(&whole(good.clone())).is_ok());
    let secret = good.len() - SECRET;
    for at in secret..good.len() {
        for other in (0..=u8::MAX).filter(|byte| !byte.is_ascii_alphanumeric()) {
            let mut bad = good.clone();
            bad[at] = other;
            assert!(RawKey::parse(&whole(bad)).is_err(), "{other} at {at}");
        }
    }
    let mut bad = good;
    bad[secret..].fill(0xff);
    assert!(RawKey::parse(&whole(bad)).is_err());
}

#[test]
fn ids_use_every_digit() {
    let keys = (0..400).map(|_| RawKey::generate("ab", Environment::Test).unwrap());
    let ids: String = keys
        .map(|key| key.prefix().as_str()[8..].to_owned())
        .collect();
    assert_eq!(ids.len(), 400 * KeyPrefix::ID);
    assert!(DIGITS.iter().all(|digit| ids.contains(char::from(*digit))));
}

#[test]
fn no_digit_of_an_id_is_likelier_than_another() {
    let keys = (0..2000).map(|_| RawKey::generate("ab", Environment::Test).unwrap());
    let low = |key: RawKey| {
        let id = &key.prefix().as_str()[8..];
        id.bytes().filter(|digit| digit < &b'8').count()
    };
    // Eight digits of 62 in 24 000 are 3097, give or take 52. Were each byte taken, they would
    // be 3750: 256 is eight more than four times 62.
    let low: usize = keys.map(low).sum();
    assert!((2773..3422).contains(&low), "{low}");
}

#[test]
fn a_secret_is_wiped() {
    let mut secret = Secret([7; 32]);
    secret.zeroize();
    assert_eq!(secret.bytes(), &[0; 32]);
}

#[test]
fn a_key_of_another_format_is_16_to_512_visible_characters() {
    let is_key = |text: &[u8]| RawKey::imported(text, Environment::Live).is_ok();
    for (length, good) in [(15, false), (16, true), (512, true), (513, false)] {
        assert_eq!(is_key(&vec![b'k'; length]), good, "{length}");
    }
    for other in (0..=u8::MAX).filter(|byte| !(b'!'..=b'~').contains(byte)) {
        for at in [0, 8, 19] {
            let mut text = [b'k'; 20];
            text[at] = other;
            assert!(!is_key(&text), "{other} at {at}");
        }
    }
}

#[test]
fn the_name_of_an_imported_key_never_changes() {
    let name = |byte, environment| RawKey::imported_prefix(&[byte; 32], environment).unwrap();
    assert_eq!(
        name(0, Environment::Live).as_str(),
        "imported_live_um04pL4v5BdY"
    );
    assert_eq!(
        name(7, Environment::Test).as_str(),
        "imported_test_5pIhmoaWVJPZ"
    );
}

/// What `has_shape` should say, with the text taken apart at its separators.
fn looks_like_a_key(text: &[u8]) -> bool {
    let parts: Vec<&[u8]> = text.split(|byte| *byte == b'_').collect();
    let [brand, environment, id, rest] = parts[..] else {
        return false;
    };
    let is_word = |text: &[u8]| text.iter().all(u8::is_ascii_alphanumeric);
    KeyPrefix::is_brand(std::str::from_utf8(brand).unwrap_or_default())
        && [&b"live"[..], b"test"].contains(&environment)
        && (id.len(), rest.len()) == (12, 49)
        && is_word(id)
        && is_word(rest)
}

#[test]
fn every_key_has_the_shape_and_none_with_a_changed_separator() {
    for brand in ["ab", "acme", "abcdefghij"] {
        let key = RawKey::generate(brand, Environment::Live).unwrap();
        let text = key.expose();
        for at in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut text = text.as_bytes().to_vec();
                text[at] = byte;
                assert_eq!(has_shape(&text), looks_like_a_key(&text), "{byte} at {at}");
            }
            let (front, back) = text.as_bytes().split_at(at);
            assert_eq!(has_shape(back), looks_like_a_key(back), "from {at}");
            assert!(!has_shape(front), "up to {at}");
        }
        assert!(has_shape(text.as_bytes()));
    }
}

#[test]
fn a_key_is_found_within_any_text() {
    for brand in ["ab", "acme", "abcdefghij"] {
        let key = RawKey::generate(brand, Environment::Test).unwrap();
        let text = key.expose();
        for around in ["", ",", "\u{e9}", "_", "a", "Z9"] {
            let whole = format!("{around}{}{around}", *text);
            assert!(is_within(whole.as_bytes()), "{around}");
        }
        assert!(!is_within(&text.as_bytes()[..text.len() - 1]));
        assert!(!is_within(&text.as_bytes()[brand.len() - 1..]));
    }
    assert!(!is_within(&[b'_'; 500]));
}

#[test]
fn a_brand_that_would_hold_the_separator_is_refused() {
    for bad in ["", "a", "my_brand", "ACME", "abcdefghijk", "é1"] {
        assert!(RawKey::generate(bad, Environment::Live).is_err(), "{bad}");
    }
}

#[test]
fn debug_output_is_redacted() {
    let key = RawKey::generate("acme", Environment::Live).unwrap();
    let exposed = key.expose();
    for shown in [format!("{key:?}"), format!("{:?}", key.secret())] {
        assert!(!shown.contains(&exposed[exposed.len() - 49..]));
        assert!(shown.contains("[redacted]"));
    }
    assert!(format!("{key:?}").contains(key.prefix().as_str()));
}

proptest! {
    #[test]
    fn a_key_survives_writing_and_reading(secret: [u8; 32], live: bool) {
        let environment = if live { Environment::Live } else { Environment::Test };
        let mut key = RawKey::generate("acme", environment).unwrap();
        key.secret = Secret(secret);
        let read = RawKey::parse(key.expose().as_bytes()).unwrap();
        prop_assert_eq!(read.prefix(), key.prefix());
        prop_assert_eq!(read.secret().bytes(), key.secret().bytes());
    }

    #[test]
    fn one_changed_byte_is_never_accepted(secret: [u8; 32], at: prop::sample::Index, to: u8) {
        let mut key = RawKey::generate("acme", Environment::Live).unwrap();
        key.secret = Secret(secret);
        let mut text = key.expose().as_bytes().to_vec();
        let at = at.index(text.len());
        prop_assume!(text[at] != to);
        text[at] = to;
        prop_assert!(RawKey::parse(&text).is_err());
    }

    #[test]
    fn what_has_its_checksum_is_a_key_exactly_where_its_parts_are_good(
        secret in prop::collection::vec(
            prop_oneof![30 => "[0-9A-Za-z]", 1 => "[ -~]"], SECRET),
        brand in "[a-z0-9]{2,10}|[ -~]{1,11}",
        environment in "live|test|[a-z]{4}",
    ) {
        let secret: String = secret.concat();
        let mut text = format!("{brand}_{environment}_pBakQVyk6bW4_{secret}").into_bytes();
        text.extend(digits(crc32fast::hash(&text)));
        // Digits stand in the order of their values, and so do numbers of one length.
        let fits = secret.as_bytes() <= &encode(&[0xff; 32])[..];
        let read = RawKey::parse(&text);
        prop_assert_eq!(read.is_ok(), looks_like_a_key(&text) && fits);
        if let Ok(key) = read {
            prop_assert!(*key.expose().as_bytes() == text);
        }
    }

    #[test]
    fn two_changed_characters_of_a_secret_are_never_accepted(
        at in prop::array::uniform2(0..SECRET), to in prop::array::uniform2(0x80..=u8::MAX),
    ) {
        let mut text = format!("acme_live_pBakQVyk6bW4_{}", "0".repeat(SECRET)).into_bytes();
        let secret = text.len() - SECRET;
        for (at, to) in at.into_iter().zip(to) {
            text[secret + at] = to;
        }
        text.extend(digits(crc32fast::hash(&text)));
        prop_assert!(RawKey::parse(&text).is_err());
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = RawKey::parse(&bytes);
    }
}
