#!/bin/sh
# Checks the proof of one event with a shell, base64 and OpenSSL 3 alone, from the open
# specifications: RFC 6962 (tree), RFC 8032 (Ed25519), c2sp.org/signed-note, /tlog-checkpoint
# and /tlog-proof.
#
#     sh verify.sh VKEY EVENT PROOF
#
# Exit codes: 0 it is proved, 1 it is another event, 2 could not check, 5 bad signature.
set -eu
export LC_ALL=C

# Whatever fails on the way, nothing was checked.
answer=2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"; exit "$answer"' EXIT

cannot() {
    echo "could not check: $1" >&2
    exit
}

wrong() {
    echo "not proved: $2" >&2
    answer=$1
    exit
}

sha256() {
    openssl dgst -sha256 -binary
}

hex() {
    od -An -v -tx1 | tr -d ' \n'
}

# Whether a word, and whether each line of a file, is like an extended regular expression.
is_like() {
    printf '%s\n' "$1" | grep -Eq "^($2)\$"
}

are_like() {
    ! grep -Evq "^($2)\$" "$1"
}

# Base64 has one form for each value: the bits behind the last byte are zero.
digit='[A-Za-z0-9+/]'
base64="($digit{4})*($digit[AQgw]==|$digit{2}[AEIMQUYcgkosw048]=)?"
hash="$digit{42}[AEIMQUYcgkosw048]="
number='0|[1-9][0-9]*'

[ $# -eq 3 ] || cannot 'give the key, the event and the proof'
case $(openssl version) in 'OpenSSL '[3-9]*) ;; *) cannot 'this needs OpenSSL 3' ;; esac
for file in "$@"; do
    [ -f "$file" ] && [ -r "$file" ] || cannot "$file can't be read"
    [ "$(wc -c < "$file")" -le 1000000 ] || cannot "$file is too long to be what it should be"
done
vkey=$1 event=$2 proof=$3

# The event: one line. The newline at its end is not part of it.
newlines=$(wc -l < "$event") bytes=$(wc -c < "$event")
[ "$newlines" -eq 0 ] || { [ "$newlines" -eq 1 ] && [ "$(tail -c 1 "$event" | hex)" = 0a ]; } ||
    cannot 'the event is not one line of a log'
length=$((bytes - newlines))
[ "$length" -gt 0 ] && [ "$length" -le 60000 ] || cannot 'the event is not one line of a log'

# The key and the proof are text: no control characters, UTF-8, and no spaces but the plain one.
for file in "$vkey" "$proof"; do
    [ "$(tr -d '\n\040-\377' < "$file" | wc -c)" -eq 0 ] || cannot "$file has control characters"
done
next=' [89ab].'
utf8=" [0-7].| c[2-9a-f]$next| d.$next| e0 [ab].$next| e[1-9a-cef]$next$next| ed [89].$next"
utf8="$utf8| f0 [9ab].$next$next| f[1-3]$next$next$next| f4 8.$next$next"
spaces='c2 (85|a0)|e1 9a 80|e2 80 (8[0-9a]|a[89f])|e2 81 9f|e3 80 80'
od -An -v -tx1 < "$proof" | tr -d '\n' > "$tmp/hex"
is_text=yes
grep -Eq "^($utf8)*\$" "$tmp/hex" && ! grep -Eq "$spaces" "$tmp/hex" || is_text=no
[ $is_text = yes ] && [ "$(tail -c 1 "$proof" | hex)" = 0a ] || cannot 'the proof is no lines of text'

# The proof: a line that names its format, perhaps one that is not looked at, the index, hashes, a
# blank line, the checkpoint.
sed '/^$/,$d' "$proof" > "$tmp/head"
sed '1,/^$/d' "$proof" > "$tmp/checkpoint"
[ "$(sed -n 1p "$tmp/head")" = c2sp.org/tlog-proof@v1 ] || cannot 'the proof has another format'
sed 1d "$tmp/head" > "$tmp/rest"
extra=$(sed -n 's/^extra /&/p;q' "$tmp/rest")
if [ -n "$extra" ]; then
    is_like "${extra#extra }" "$base64" || cannot 'what is added to the proof is no base64'
    sed 1,2d "$tmp/head" > "$tmp/rest"
fi
index=$(sed -n 's/^index //p;q' "$tmp/rest")
is_like "$index" "$number" || cannot 'the proof has no index'
sed 1d "$tmp/rest" > "$tmp/path"
are_like "$tmp/path" "$hash" || cannot 'the path is no list of hashes'
[ "$(wc -l < "$tmp/path")" -le 63 ] || cannot 'the path is longer than any'

# The checkpoint: the log's name, its size and its root, a blank line, signatures.
sed '/^$/,$d' "$tmp/checkpoint" > "$tmp/text"
sed '1,/^$/d' "$tmp/checkpoint" > "$tmp/signatures"
[ "$(wc -l < "$tmp/text")" -eq 3 ] || cannot 'the checkpoint is none'
origin=$(sed -n 1p "$tmp/text")
size=$(sed -n 2p "$tmp/text")
root=$(sed -n 3p "$tmp/text")
is_like "$size" "$number" && is_like "$root" "$hash" || cannot 'the checkpoint is none'
# More than that many events no log has, and a shell can't count.
[ ${#index} -le 18 ] && [ ${#size} -le 18 ] || cannot 'the numbers are too large'

# The key, as OpenSSL reads it: 12 bytes that say Ed25519, and the 32 bytes behind the type.
vkey=$(cat "$vkey")
key=${vkey#"$origin"+????????+}
[ "$vkey" != "$key" ] || cannot "the key is another log's"
case $key in *[!A-Za-z0-9+/]*) cannot 'the key is not an Ed25519 key' ;; esac
[ ${#key} -eq 44 ] || cannot 'the key is not an Ed25519 key'
printf '%s' "$key" | base64 -d > "$tmp/typed"
[ "$(head -c 1 "$tmp/typed" | hex)" = 01 ] || cannot 'the key is not an Ed25519 key'
id=$({ printf '%s\n' "$origin"; cat "$tmp/typed"; } | sha256 | head -c 4 | hex)
[ "$vkey" = "$origin+$id+$key" ] || cannot 'the key is not what its id says'
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c 32 "$tmp/typed"; } > "$tmp/key"

# Signatures: — NAME BASE64, the id of a key in its first 4 bytes. Others may have signed as well;
# each of this key's own must be good.
sed 's/.* //' "$tmp/signatures" > "$tmp/encoded"
are_like "$tmp/signatures" "— [^ +]+ $digit{7}[^ ]*" && are_like "$tmp/encoded" "$base64" ||
    cannot 'a line of the checkpoint is no signature'
count=$(wc -l < "$tmp/signatures")
[ "$count" -gt 0 ] && [ "$count" -le 100 ] || cannot 'the checkpoint has no signature, or too many'
is_signed=
while read -r _ name signature; do
    [ "$name" = "$origin" ] || continue
    echo "$signature" | base64 -d > "$tmp/signed"
    [ "$(head -c 4 "$tmp/signed" | hex)" = "$id" ] || continue
    tail -c +5 "$tmp/signed" > "$tmp/signature"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$tmp/key" -rawin \
        -in "$tmp/text" -sigfile "$tmp/signature" > /dev/null 2>&1 || wrong 5 'bad signature'
    is_signed=yes
done < "$tmp/signatures"
[ -n "$is_signed" ] || wrong 5 'bad signature: none is by this key'

# From the event to the root (RFC 9162, section 2.1.3.2, which says how for RFC 6962's tree).
{ printf '\000'; tr -d '\n' < "$event"; } | sha256 > "$tmp/r"
[ "$index" -lt "$size" ] || wrong 1 'the event is not in the tree yet'
fn=$index sn=$((size - 1))
while read -r step; do
    [ "$sn" -ne 0 ] || wrong 1 'the proof is too long'
    echo "$step" | base64 -d > "$tmp/p"
    if [ $((fn % 2)) -eq 1 ] || [ "$fn" -eq "$sn" ]; then
        { printf '\001'; cat "$tmp/p" "$tmp/r"; } | sha256 > "$tmp/n"
        while [ $((fn % 2)) -eq 0 ] && [ "$fn" -ne 0 ]; do
            fn=$((fn / 2)) sn=$((sn / 2))
        done
    else
        { printf '\001'; cat "$tmp/r" "$tmp/p"; } | sha256 > "$tmp/n"
    fi
    mv "$tmp/n" "$tmp/r"
    fn=$((fn / 2)) sn=$((sn / 2))
done < "$tmp/path"
[ "$sn" -eq 0 ] || wrong 1 'the proof is too short'
[ "$(openssl base64 -A < "$tmp/r")" = "$root" ] ||
    wrong 1 'the proof does not lead from this event to the signed root'
echo ok
answer=0
