//! These are about files that have numbers.
#![cfg(unix)]

use super::*;

#[test]
fn it_knows_itself_from_another_and_from_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("held");
    let aside = directory.path().join("aside");
    let mut held = Held::new(File::create(&path).unwrap(), &path).unwrap();
    io::Write::write_all(held.file_mut(), b"12345").unwrap();
    assert_eq!(held.look(&path).unwrap(), Found::Itself(5));
    fs::rename(&path, &aside).unwrap();
    assert_eq!(held.look(&path).unwrap(), Found::Nothing);
    fs::write(&path, b"1234").unwrap();
    assert_eq!(held.look(&path).unwrap(), Found::Another(4));
    fs::rename(&aside, &path).unwrap();
    assert_eq!(held.look(&path).unwrap(), Found::Itself(5));
    held.file().set_len(2).unwrap();
    assert_eq!(held.look(&path).unwrap(), Found::Itself(2));
}

#[test]
fn what_is_removed_as_it_is_opened_is_not_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("held");
    let file = File::create(&path).unwrap();
    fs::remove_file(&path).unwrap();
    Held::new(file.try_clone().unwrap(), &path).unwrap_err();
    fs::write(&path, b"123").unwrap();
    Held::new(file, &path).unwrap_err();
}

#[test]
fn where_it_has_no_name_its_length_is_known_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("held");
    fs::write(&path, b"123").unwrap();
    let file = File::open(&path).unwrap();
    let held = Held { file, id: None };
    fs::remove_file(&path).unwrap();
    assert_eq!(held.look(&path).unwrap(), Found::Itself(3));
}
