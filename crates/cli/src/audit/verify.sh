#!/bin/sh
# Checks the proof of one event with a shell, base64 and OpenSSL 3 alone, from the open
# specifications: RFC 6962 (tree), RFC 8032 (Ed25519), c2sp.org/signed-note, /tlog-checkpoint
# and /tlog-proof.
#
#     sh verify.sh VKEY EVENT PROOF
set -eu
export LC_ALL=C
vkey=$1 event=$2 proof=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

wrong() {
    echo "wrong: $1" >&2
    exit 1
}

sha256() {
    openssl dgst -sha256 -binary
}

hex() {
    od -An -v -tx1 | tr -d ' \n'
}

# The proof: a line that names its format, the index, hashes, a blank line, the checkpoint.
[ "$(sed -n 1p "$proof")" = c2sp.org/tlog-proof@v1 ] || wrong "the proof has another format"
index=$(sed -n '2s/^index \([0-9]\{1,\}\)$/\1/p' "$proof")
[ -n "$index" ] || wrong "the proof has no index"
sed -n '3,/^$/p' "$proof" | sed '/^$/d' > "$tmp/path"
sed '1,/^$/d' "$proof" > "$tmp/checkpoint"

# The checkpoint: the log's name, its size and its root, a blank line, signatures.
sed '/^$/,$d' "$tmp/checkpoint" > "$tmp/text"
[ "$(wc -l < "$tmp/text")" -eq 3 ] || wrong "the checkpoint is none"
origin=$(sed -n 1p "$tmp/text")
size=$(sed -n 2p "$tmp/text")
root=$(sed -n 3p "$tmp/text")
case $size in '' | *[!0-9]* | 0*) wrong "the checkpoint has no size" ;; esac
[ "$(cut -d+ -f1 "$vkey")" = "$origin" ] || wrong "the key is another log's"

# The key, as OpenSSL reads it: 12 bytes that say Ed25519, and the 32 bytes behind the type.
cut -d+ -f3- "$vkey" | base64 -d > "$tmp/typed"
[ "$(wc -c < "$tmp/typed")" -eq 33 ] && [ "$(head -c 1 "$tmp/typed" | hex)" = 01 ] ||
    wrong "the key is not an Ed25519 key"
id=$({ printf '%s\n' "$origin"; cat "$tmp/typed"; } | sha256 | head -c 4 | hex)
[ "$(cut -d+ -f2 "$vkey")" = "$id" ] || wrong "the key is not what its id says"
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c 32 "$tmp/typed"; } > "$tmp/key"

# The signature behind its 4 bytes of key id, of the line that names the log.
sed '1,/^$/d' "$tmp/checkpoint" | awk -v name="$origin" '$2 == name { print $3; exit }' |
    base64 -d > "$tmp/signed"
[ "$(wc -c < "$tmp/signed")" -eq 68 ] && [ "$(head -c 4 "$tmp/signed" | hex)" = "$id" ] ||
    wrong "the checkpoint is not signed with this key"
tail -c 64 "$tmp/signed" > "$tmp/signature"
openssl pkeyutl -verify -pubin -keyform DER -inkey "$tmp/key" -rawin \
    -in "$tmp/text" -sigfile "$tmp/signature" > /dev/null 2>&1 || wrong "bad signature"

# From the event to the root (RFC 9162, section 2.1.3.2, which says how for RFC 6962's tree).
[ "$(wc -l < "$event")" -eq 1 ] || wrong "the event is not one line"
{ printf '\000'; tr -d '\n' < "$event"; } | sha256 > "$tmp/r"
[ "$index" -lt "$size" ] || wrong "the event is not in the tree yet"
fn=$index sn=$((size - 1))
while read -r hash; do
    [ "$sn" -ne 0 ] || wrong "the proof is too long"
    echo "$hash" | base64 -d > "$tmp/p"
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
[ "$sn" -eq 0 ] || wrong "the proof is too short"
[ "$(openssl base64 -A < "$tmp/r")" = "$root" ] ||
    wrong "the proof does not lead from this event to the signed root"
echo ok
