#!/usr/bin/env python3
"""Checks an audit log, or the proof of one event, from the open specifications alone:
RFC 6962 (tree), RFC 8032 (Ed25519), c2sp.org/signed-note, /tlog-checkpoint and /tlog-proof.

    verify.py proof VKEY EVENT PROOF
    verify.py log DIRECTORY
"""
import base64
import datetime
import hashlib
import json
import os
import stat
import sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


LONGEST_LINE = 60_000
LONGEST_FILE = 1_000_000


UNSIGNED_FOR = datetime.timedelta(seconds=120)


TAMPERED, TORN, TRUNCATED, BAD_SIGNATURE, UNACCOUNTED = 1, 3, 4, 5, 6


class Wrong(Exception):
    def __init__(self, problem, code=TAMPERED):
        super().__init__(problem)
        self.code = code


def sha256(data):
    return hashlib.sha256(data).digest()


def node(left, right):
    return sha256(b"\x01" + left + right)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, point):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        raise Wrong("bad point")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    if x * x % P != square or (x == 0 and sign):
        raise Wrong("bad point")
    return (P - x if x & 1 != sign else x, y, 1, (P - x if x & 1 != sign else x) * y % P)


BASE = point(bytes.fromhex("58" + "66" * 31))


def ed25519(key, message, signature):
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    left = times(s, BASE)
    right = add(point(signature[:32]), times(int.from_bytes(digest, "little") % L, point(key)))
    same = lambda i: (left[i] * right[2] - right[i] * left[2]) % P == 0
    return same(0) and same(1)


def read_vkey(text):
    origin, key_id, key = text.strip().split("+", 2)
    key = base64.b64decode(key, validate=True)
    if len(key) != 33 or key[0] != 1 or sha256(origin.encode() + b"\n" + key)[:4].hex() != key_id:
        raise Wrong("vkey is no Ed25519 verifier key")
    return origin, bytes.fromhex(key_id), key[1:]


def read_checkpoint(note, vkey):
    origin, key_id, key = vkey
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    lines = text.split("\n")
    if len(lines) != 4 or lines[0] != origin or str(int(lines[1])) != lines[1]:
        raise Wrong("no checkpoint of this log")
    signed = False
    for line in signatures.splitlines():
        dash, name, signature = line.split(" ")
        signature = base64.b64decode(signature, validate=True)
        if dash == "\u2014" and name == origin and signature[:4] == key_id:
            if not ed25519(key, text.encode(), signature[4:]):
                raise Wrong("bad signature", BAD_SIGNATURE)
            signed = True
    if not signed:
        raise Wrong("bad signature: none by this key", BAD_SIGNATURE)
    return int(lines[1]), base64.b64decode(lines[2], validate=True)


def root_from_proof(index, size, leaf, path):
    if index >= size:
        raise Wrong("the checkpoint does not cover this event")
    number, last, result = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise Wrong("the proof is too long")
        if number & 1 or number == last:
            result = node(step, result)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            result = node(result, step)
        number, last = number >> 1, last >> 1
    if last != 0:
        raise Wrong("the proof is too short")
    return result


def open_regular(path):
    """Opens a file, and nothing that may never begin or never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path}: it is no regular file")
    return open(path, "rb")


def read_small(path):
    with open_regular(path) as file:
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise ValueError(f"{path} is too long to be what it should be")
    return content


class Line:
    """A line of a file; of one that is too long only the beginning is held."""

    def __init__(self, offset, text, length, ended):
        self.offset, self.text, self.length, self.ended = offset, text, length, ended
        self.is_too_long = length - ended > LONGEST_LINE

    def number(self, origin):
        """Which line of the log it says that it is, if any."""
        try:
            entry = json.loads(self.text)
            whole = self.ended and not self.is_too_long
            return entry["seq"] if whole and entry["log"] == origin else None
        except (ValueError, KeyError, TypeError):
            return None


def read_lines(path):
    with open_regular(path) as file:
        offset = 0
        while text := file.readline(LONGEST_LINE + 1):
            length, end = len(text), text
            while not end.endswith(b"\n") and (end := file.readline(LONGEST_LINE + 1)):
                length += len(end)
            yield Line(offset, text, length, end.endswith(b"\n"))
            offset += length


def check_proof(vkey_file, event_file, proof_file):
    vkey = read_vkey(read_small(vkey_file).decode())
    line = read_small(event_file).removesuffix(b"\n")
    head, _, note = read_small(proof_file).decode().partition("\n\n")
    lines = head.split("\n")
    if lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Wrong("no proof")
    if lines[0].startswith("extra "):
        lines.pop(0)
    index = int(lines.pop(0).removeprefix("index "))
    size, root = read_checkpoint(note, vkey)
    path = [base64.b64decode(step, validate=True) for step in lines]
    if root_from_proof(index, size, sha256(b"\x00" + line), path) != root:
        raise Wrong("the proof does not lead from this event to the signed root")
    return f"ok: event {index} of the first {size} of {vkey[0]}"


def read_checkpoints(directory, vkey):
    """The root for each size that was signed, and how many bytes of the list are torn."""
    roots, torn, path = {}, 0, os.path.join(directory, "checkpoints.jsonl")
    for line in read_lines(path):
        if not line.ended:
            torn = line.length
            continue
        try:
            size, root = read_checkpoint(json.loads(line.text)["note"], vkey)
        except (ValueError, KeyError, TypeError, IndexError):
            problem = "too long" if line.is_too_long else "no checkpoint"
            raise Wrong(f"the line of the list of checkpoints at byte {line.offset} is {problem}")
        roots[size] = root
    size, root = read_checkpoint(read_small(os.path.join(directory, "checkpoint")).decode(), vkey)
    if roots.setdefault(size, root) != root:
        raise Wrong("the newest checkpoint contradicts the list")
    return roots, torn


def read_events(path, count, origin, may_be_torn):
    """Each line of a segment, of which the first has the number `count`."""
    lines = read_lines(path)
    for line in lines:
        number = line.number(origin)
        if number != count:
            is_end = number is None and may_be_torn(count)
            if is_end and all(rest.number(origin) is None for rest in lines):
                raise Wrong(f"torn tail of {os.path.getsize(path) - line.offset} bytes", TORN)
            if line.is_too_long:
                name = os.path.basename(path)[:20]
                raise Wrong(f"line too long at {count} (segment {name}, byte {line.offset})")
            raise Wrong(f"line {count} is not in its place")
        yield line.text[:-1]
        count += 1


def read_hashes(path, first, following, signed):
    """What is left of lines whose time was over: none of them is past what is signed."""
    with open_regular(path) as file:
        while leaf := file.read(32):
            if first == following:
                raise Wrong(f"line inserted at {first}")
            if first >= signed:
                raise Wrong(f"line missing at {first}")
            yield leaf
            first += 1


def read_removal(line):
    """The number behind the last line that this one says was deleted."""
    name = "external_api.audit.removed"
    event = json.loads(line) if name.encode() in line else {}
    if event.get("type") != name:
        return 0
    return event["metadata"]["first"] + event["metadata"]["count"]


class Tail:
    """The lines that no checkpoint covers. The first few may have waited before they were written."""

    def __init__(self):
        self.lines, self.begin, self.newest = 0, None, None

    def add(self, line):
        try:
            time = datetime.datetime.fromisoformat(json.loads(line)["time"].removesuffix("Z"))
            self.newest = max(self.newest or time, time)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        if self.lines < 8:
            self.begin = self.newest
        self.lines += 1

    def is_overdue(self):
        if self.begin is None:
            return self.lines > 0
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        return max(self.newest - self.begin, now - self.newest) > UNSIGNED_FOR


def list_segments(directory):
    """The segments by their first line. Where a crash left both, lines go before hashes."""
    found = {}
    for name in sorted(os.listdir(directory)):
        first, _, kind = name.partition(".")
        if len(first) == 20 and first.isdigit() and kind in ("hashes", "jsonl"):
            found[int(first)] = (os.path.join(directory, name), kind == "jsonl")
    return sorted(found.items())


class Tree:
    """The tree over the lines so far, compared with each root that was signed."""

    def __init__(self, roots):
        self.roots, self.stack, self.count = roots, [], 0
        if roots.get(0, sha256(b"")) != sha256(b""):
            raise Wrong("root differs at size 0")

    def add(self, leaf):
        stack = self.stack
        stack.append((1, leaf))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            (size, left), (_, right) = stack[-2:]
            stack[-2:] = [(2 * size, node(left, right))]
        self.count += 1
        if self.count in self.roots:
            root = stack[-1][1]
            for _, left in reversed(stack[:-1]):
                root = node(left, root)
            if root != self.roots[self.count]:
                raise Wrong(f"root differs at size {self.count}")


def check_log(directory):
    vkey = read_vkey(read_small(os.path.join(directory, "vkey")).decode())
    roots, torn = read_checkpoints(directory, vkey)
    tree, tail, signed, removed = Tree(roots), Tail(), max(roots), 0
    told = told_later = 0
    segments = list_segments(os.path.join(directory, "segments"))
    broken = None
    for index, (first, (path, has_lines)) in enumerate(segments):
        if first != tree.count or (not has_lines and first != removed):
            raise Wrong(f"line missing at {tree.count}")
        following = segments[index + 1][0] if index + 1 < len(segments) else None
        if not has_lines:
            for leaf in read_hashes(path, first, following, signed):
                tree.add(leaf)
            removed = tree.count
            continue
        may_be_torn = lambda at: following is None and at >= signed
        try:
            for line in read_events(path, first, vkey[0], may_be_torn):
                if tree.count < signed:
                    told = max(told, read_removal(line))
                else:
                    told_later = max(told_later, read_removal(line))
                    tail.add(line)
                tree.add(sha256(b"\x00" + line))
        except Wrong as wrong:
            if wrong.code != TORN:
                raise
            broken = wrong
    if signed > tree.count:
        raise Wrong(f"truncated: checkpoint says {signed}, log has {tree.count}", TRUNCATED)
    # A log that was signed further meanwhile is written just now.
    newest, _ = read_checkpoint(read_small(os.path.join(directory, "checkpoint")).decode(), vkey)
    goes_on = newest > signed
    if removed > max(told, told_later if goes_on else 0):
        raise Wrong(f"removal not told: the first {removed} events are gone", UNACCOUNTED)
    if tail.is_overdue() and not goes_on:
        raise Wrong(f"unsigned for too long: the last {tail.lines} events", UNACCOUNTED)
    if broken or torn:
        raise broken or Wrong(f"torn tail of {torn} bytes", TORN)
    return f"ok: {tree.count} events, signed up to {signed}"


if __name__ == "__main__":
    commands = {"proof": (check_proof, 3), "log": (check_log, 1)}
    command, wanted = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != wanted + 2:
        sys.exit(__doc__)
    try:
        print(command(*sys.argv[2:]))
    except Wrong as wrong:
        print(f"not verified: {wrong}", file=sys.stderr)
        sys.exit(wrong.code)
    except (OSError, ValueError, KeyError, IndexError) as error:
        print(f"could not check: {error}", file=sys.stderr)
        sys.exit(2)
