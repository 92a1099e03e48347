#!/usr/bin/env python3
"""Checks an audit log, or the proof of one event, from the open specifications alone:
RFC 6962 (tree), RFC 8032 (Ed25519), c2sp.org/signed-note, /tlog-checkpoint and /tlog-proof.

    verify.py proof VKEY EVENT PROOF
    verify.py log DIRECTORY

Exit codes: 0 all is well, 1 tampered, 2 could not check, 3 torn at the end, 4 truncated,
5 bad signature, 6 something that nothing signed accounts for.
"""
import base64
import datetime
import hashlib
import json
import os
import re
import stat
import sys
import time

TAMPERED, UNCHECKED, TORN, TRUNCATED, BAD_SIGNATURE, UNACCOUNTED = 1, 2, 3, 4, 5, 6

LONGEST_LINE = 60_000
LONGEST_FILE = 1_000_000
MOST_SIGNATURES = 100
LONGEST_PATH = 63
DEEPEST = 127
UNSIGNED_FOR = 120 * 1_000_000


class Wrong(Exception):
    """What was found. Whatever else goes wrong means that nothing could be checked."""

    def __init__(self, problem, code=TAMPERED):
        super().__init__(problem)
        self.code = code


# Ed25519 (RFC 8032): points as (X, Y, Z, T).

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def decode_point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    if len(data) != 32 or y >= P or x * x % P != square or (x == 0 and sign):
        raise ValueError("the key is no point of the curve")
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


def encode_point(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Multiples:
    """The multiples of a point. A table of those by each half byte makes many signatures quick."""

    def __init__(self, point):
        self.table = []
        for _ in range(64):
            row = [NEUTRAL]
            while len(row) < 16:
                row.append(add(row[-1], point))
            self.table.append(row)
            point = add(row[-1], point)

    def times(self, n):
        result = NEUTRAL
        for row in self.table:
            result, n = add(result, row[n & 15]), n >> 4
        return result


BASE = Multiples(decode_point(bytes.fromhex("58" + "66" * 31)))


# Signed notes and checkpoints. What is malformed is a ValueError: what that means depends on where
# it stands.


def sha256(data):
    return hashlib.sha256(data).digest()


def decode_base64(text):
    """Each value has one form, so that nothing can be changed without being noticed."""
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("it is no base64")
    return data


def decode_hash(text):
    data = decode_base64(text)
    if len(data) != 32:
        raise ValueError("it is no hash")
    return data


def decode_number(text):
    if not re.fullmatch("0|[1-9][0-9]{0,19}", text) or int(text) >= 2**64:
        raise ValueError("it is no number")
    return int(text)


class Key:
    """A log's name and public key, as the file `vkey` has them: <origin>+<key id>+<key>."""

    SIGNATURE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)")

    def __init__(self, text):
        parts = text.rstrip("\n").split("+", 2)
        self.origin, key_id, typed = parts if len(parts) == 3 else ("", "", "")
        typed = decode_base64(typed)
        self.id = sha256(self.origin.encode() + b"\n" + typed)[:4]
        if len(typed) != 33 or typed[0] != 1 or self.id.hex() != key_id:
            raise ValueError("the vkey is no Ed25519 verifier key")
        if any(char < " " or "\x7f" <= char <= "\x9f" for char in self.origin):
            raise ValueError("the vkey has control characters")
        self.key = typed[1:]
        x, y, z, t = decode_point(self.key)
        self.minus_key = Multiples((P - x, y, z, P - t))

    def has_signed(self, message, signature):
        s = int.from_bytes(signature[32:], "little")
        if len(signature) != 64 or s >= L:
            return False
        digest = hashlib.sha512(signature[:32] + self.key + message).digest()
        k = int.from_bytes(digest, "little") % L
        return encode_point(add(BASE.times(s), self.minus_key.times(k))) == signature[:32]

    def read_checkpoint(self, note):
        """The size and root that a note of this log says, if this key signed it.

        Others may have signed it as well, and each of this key's own signatures must be good.
        """
        note.encode("utf-8")  # fails where it is no text
        text, blank, signatures = note.rpartition("\n\n")
        text, lines = text + "\n", signatures.split("\n")
        if not blank or lines.pop() != "" or not 0 < len(lines) <= MOST_SIGNATURES:
            raise ValueError("it is no signed note")
        if any(char < " " and char != "\n" for char in note):
            raise ValueError("the note has control characters")
        own = [signature for signature in map(self.read_signature, lines) if signature is not None]
        origin, size, root = (text.split("\n") + ["", ""])[:3]
        if text != "%s\n%s\n%s\n" % (self.origin, size, root):
            raise ValueError("it is no checkpoint of this log")
        head = decode_number(size), decode_hash(root)
        if not own or not all(self.has_signed(text.encode(), signature) for signature in own):
            raise Wrong("bad signature", BAD_SIGNATURE)
        return head

    def read_signature(self, line):
        """The signature in a line of a note, if it says that it is by this key."""
        match = self.SIGNATURE.fullmatch(line)
        signature = decode_base64(match.group(2)) if match else b""
        if len(signature) < 5:
            raise ValueError("a line of the note is no signature")
        is_own = match.group(1) == self.origin and signature[:4] == self.id
        return signature[4:] if is_own else None


# The tree (RFC 6962, section 2.1).


def leaf_hash(line):
    return sha256(b"\x00" + line)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


class Subtrees:
    """The largest complete subtrees over a range of leaves; over one from 0, they make a tree."""

    def __init__(self, first):
        self.first, self.end, self.stack = first, first, []

    def add(self, leaf):
        size, hash = 1, leaf
        self.end += 1
        while self.stack and self.stack[-1][0] == size and self.end % (2 * size) == 0:
            size, hash = 2 * size, node_hash(self.stack.pop()[1], hash)
        self.stack.append((size, hash))

    def hashes(self):
        return [hash for _, hash in self.stack]

    def root(self):
        hashes = self.hashes() or [sha256(b"")]
        root = hashes.pop()
        while hashes:
            root = node_hash(hashes.pop(), root)
        return root


def count_subtrees(first, end):
    """How many complete subtrees cover this range."""
    count = 0
    while first < end:
        size = 1 << ((end - first).bit_length() - 1)
        first += min(size, first & -first) if first else size
        count += 1
    return count


def root_from_path(index, size, leaf, path):
    """Where a path leads from a leaf (RFC 9162, section 2.1.3.2)."""
    if index >= size:
        raise Wrong("the checkpoint does not cover this event")
    number, last, result = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise Wrong("the proof is too long")
        if number & 1 or number == last:
            result = node_hash(step, result)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            result = node_hash(result, step)
        number, last = number >> 1, last >> 1
    if last != 0:
        raise Wrong("the proof is too short")
    return result


# Files, their lines, and what a line says.


def open_regular(path):
    """Opens a file, and nothing that may never begin or never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("%s: it is no regular file" % path)
    return open(path, "rb")


def read_small(path):
    with open_regular(path) as file:
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise ValueError("%s is too long to be what it should be" % path)
    return content


def read_text(path):
    return read_small(path).decode("utf-8")


class Line:
    """A line of a file; of one that is too long only the beginning is held."""

    def __init__(self, offset, text, length, ended):
        self.offset, self.length, self.ended = offset, length, ended
        self.is_too_long = length - ended > LONGEST_LINE
        self.is_whole = ended and not self.is_too_long
        self.text = text[:-1] if self.is_whole else text

    def number(self, origin):
        """Which line of the log it says that it is, if any."""
        try:
            event = read_event(self.text) if self.is_whole else Fields([])
            return event.only("seq", int) if event.only("log", str) == origin else None
        except (ValueError, RecursionError):
            return None


def read_lines(path):
    with open_regular(path) as file:
        offset = 0
        while True:
            text = end = file.readline(LONGEST_LINE + 1)
            length = len(text)
            while end and not end.endswith(b"\n"):
                end = file.readline(LONGEST_LINE + 1)
                text, length = text if end else text, length + len(end)
            if not text:
                return
            yield Line(offset, text, length, end.endswith(b"\n"))
            offset += length


class Fields(dict):
    """An object of JSON, which knows what names stand in it more than once."""

    def __init__(self, pairs):
        super().__init__()
        self.repeated = set()
        for name, value in pairs:
            if name in self:
                self.repeated.add(name)
            self[name] = value

    def only(self, name, kind):
        value = self.get(name)
        if name in self.repeated or type(value) is not kind:
            raise ValueError("it has no single %s" % name)
        if kind is int and value >= 2**64:
            raise ValueError("%s is too large" % name)
        return value


def read_json(text, errors="surrogateescape"):
    """An object of JSON. What is not looked at may hold bytes that are no text."""

    def number(digits):
        return int(digits) if digits.isdigit() and len(digits) <= 20 else float(digits)

    def refuse(word):
        raise ValueError("%s is no JSON" % word)

    found = json.loads(
        text.decode("utf-8", errors),
        object_pairs_hook=Fields,
        parse_int=number,
        parse_constant=refuse,
    )
    if not isinstance(found, Fields):
        raise ValueError("it is no object")
    return found


def read_event(text):
    """A whole event: all of it is text, numbers that a double holds, and not nested for ever."""
    event = read_json(text, "strict")
    json.dumps(event, ensure_ascii=False, allow_nan=False).encode("utf-8")
    if depth(event) > DEEPEST:
        raise ValueError("it is nested too deeply")
    return event


def depth(value):
    if not isinstance(value, (dict, list)):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0)


TIME = re.compile(
    "([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    "(?:[.,]([0-9]{1,9}))?(?:[Zz]|([+-][0-9]{2}):([0-9]{2}))"
)
LATEST = 253_402_207_201 * 1_000_000


def read_time(text):
    """A time of RFC 3339, in microseconds since 1970."""
    match = TIME.fullmatch(text)
    if not match:
        raise ValueError("it is no time")
    *numbers, fraction, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    second -= second == 60
    datetime.time(hour, minute, second)
    days = datetime.date(year, month, day).toordinal() - datetime.date(1970, 1, 1).toordinal()
    east = int(hours or 0) * 60 + int((hours or "+")[0] + (minutes or "0"))
    seconds = ((days * 24 + hour) * 60 + minute - east) * 60 + second
    micros = seconds * 1_000_000 + int((fraction or "0").ljust(6, "0")[:6])
    if micros >= LATEST:
        raise ValueError("it is later than any time")
    return micros


# The proof of one event (tlog-proof).

PROOF = re.compile(
    "c2sp\\.org/tlog-proof@v1\n(?:extra (.*)\n)?index (0|[1-9][0-9]*)((?:\n.+)*)"
)


def check_proof(vkey_file, event_file, proof_file):
    key, line = Key(read_text(vkey_file)), read_small(event_file)
    line = line[:-1] if line.endswith(b"\n") else line
    if not 0 < len(line) <= LONGEST_LINE or b"\n" in line:
        raise ValueError("the event is not one line of a log")
    head, _, note = read_text(proof_file).partition("\n\n")
    match = PROOF.fullmatch(head)
    if not match:
        raise ValueError("the proof is not a c2sp.org/tlog-proof@v1")
    decode_base64(match.group(1) or "")
    index = decode_number(match.group(2))
    path = [decode_hash(step) for step in match.group(3).split("\n")[1:]]
    if len(path) > LONGEST_PATH:
        raise ValueError("the proof is longer than any")
    size, root = key.read_checkpoint(note)
    if root_from_path(index, size, leaf_hash(line), path) != root:
        raise Wrong("the proof does not lead from this event to the signed root")
    return "ok: event %d of the first %d of %s" % (index, size, key.origin)


# A whole log.


class Checkpoints:
    """The root for each size that was signed: in a list, and the newest in a file of its own."""

    def __init__(self, directory, key):
        self.key, self.roots, self.signed, self.problem = key, {}, 0, None
        self.newest = os.path.join(directory, "checkpoint")
        path = os.path.join(directory, "checkpoints.jsonl")
        if os.path.exists(path):
            for number, line in enumerate(read_lines(path), 1):
                self.read_listed(number, line)
        self.read_newest()

    def read_listed(self, number, line):
        if not line.ended:
            self.problem = "torn tail of %d bytes" % line.length
            return
        try:
            if line.is_too_long:
                raise ValueError("it is too long")
            listed = read_json(line.text)
            size, note = listed.only("size", int), listed.only("note", str)
            read_time(listed.only("time", str))
            head = self.key.read_checkpoint(note)
            if head[0] != size:
                raise ValueError("it says another size than its note")
            if self.roots and size <= self.signed:
                raise ValueError("it is not after the one before")
        except ValueError as error:
            place = "line %d of the list of checkpoints (byte %d)" % (number, line.offset)
            raise Wrong("%s is no checkpoint: %s" % (place, error))
        self.signed, self.roots[size] = head

    def read_newest(self):
        if not os.path.exists(self.newest):
            if self.roots:
                raise Wrong("the newest checkpoint is missing")
            return
        try:
            note = read_text(self.newest)
            size, root = self.key.read_checkpoint(note)
            signatures = note.rpartition("\n\n")[2].split("\n")
            if len(set(signatures)) != len(signatures):
                raise ValueError("a signature stands there twice")
        except (OSError, ValueError) as error:
            raise Wrong("the newest checkpoint is none: %s" % error)
        if self.roots.get(size) == root:
            return
        if size <= self.signed:
            raise Wrong("the newest checkpoint contradicts the list of checkpoints")
        self.signed, self.roots[size] = size, root
        self.problem = self.problem or "torn tail: the list of checkpoints ends before the newest"

    def are_outdated(self):
        """Whether the log was signed further meanwhile: then it is written just now."""
        try:
            return self.key.read_checkpoint(read_text(self.newest))[0] > self.signed
        except (OSError, ValueError, Wrong):
            return False


class Tail:
    """The lines that no checkpoint covers. The first few may have waited to be written."""

    def __init__(self):
        self.lines, self.begin, self.newest = 0, None, None

    def add(self, line):
        try:
            time_of_line = read_time(read_json(line).only("time", str))
            self.newest = max(self.newest or time_of_line, time_of_line)
        except (ValueError, RecursionError):
            pass
        if self.lines < 8:
            self.begin = self.newest
        self.lines += 1

    def is_overdue(self):
        if self.begin is None:
            return self.lines > 0
        now = int(time.time() * 1_000_000)
        return max(self.newest - self.begin, now - self.newest) > UNSIGNED_FOR


def read_removal(line):
    """The number behind the last line that this one says was deleted."""
    name = "external_api.audit.removed"
    try:
        event = read_json(line) if name.encode() in line else Fields([])
        if event.only("type", str) != name:
            return 0
        told = event.only("metadata", Fields)
        return told.only("first", int) + told.only("count", int)
    except (ValueError, RecursionError):
        return 0


def read_kept(directory):
    """What finished segments hash to, by their first line. Lines that can't be read are passed over.

    It proves nothing, but the log is opened by it: so it must be right.
    """
    path, kept = os.path.join(directory, "subtrees.jsonl"), {}
    for line in read_lines(path) if os.path.exists(path) else ():
        try:
            entry = read_json(line.text)
            first, end, _ = (entry.only(name, int) for name in ("first", "end", "bytes"))
            read_time(entry.only("time", str))
            roots = [decode_hash(root) for root in entry.only("roots", list)]
        except (ValueError, AttributeError, RecursionError):
            continue
        if first <= end and len(roots) == count_subtrees(first, end):
            kept[first] = end, roots
    return kept


def list_segments(directory):
    """The segments by their first line. Where a crash left both, lines go before hashes."""
    found = {}
    for name in sorted(os.listdir(directory)):
        match = re.fullmatch(r"([0-9]{20})\.(hashes|jsonl)", name)
        if match and int(match.group(1)) < 2**64:
            found[int(match.group(1))] = (os.path.join(directory, name), match.group(2) == "jsonl")
    return sorted(found.items())


class Log:
    """One pass over the lines, from the first segment to the last."""

    def __init__(self, key, checkpoints):
        self.origin, self.roots, self.signed = key.origin, checkpoints.roots, checkpoints.signed
        self.tree, self.segment, self.tail = Subtrees(0), Subtrees(0), Tail()
        self.removed = self.told = self.told_later = self.right = 0
        self.torn = self.differing = None
        self.compare_root()

    def read(self, directory):
        kept = read_kept(directory)
        segments = list_segments(os.path.join(directory, "segments"))
        has_begun = False
        for (first, (path, has_lines)), following in zip(segments, segments[1:] + [(None, None)]):
            if first < self.tree.end:
                raise Wrong("line inserted at %d" % first)
            if first > self.tree.end or (has_begun and not has_lines):
                raise Wrong("line missing at %d" % self.tree.end)
            self.segment = Subtrees(first)
            if has_lines:
                has_begun = True
                self.read_events(path, following[0] is None)
            else:
                self.read_hashes(path, following[0])
            end, hashes = kept.get(first, (None, None))
            if not self.torn and end == self.segment.end and hashes != self.segment.hashes():
                raise Wrong("kept hashes differ from %d on" % first)

    def read_events(self, path, is_last):
        name = json.dumps(self.origin, ensure_ascii=False).encode("utf-8")
        lines = read_lines(path)
        for line in lines:
            at = self.tree.end
            # The hash of a signed line is checked, so that its first bytes tell enough.
            is_signed = line.is_whole and at < self.signed
            begins = is_signed and line.text.startswith(b'{"seq":%d,"log":%s,' % (at, name))
            if not begins and line.number(self.origin) != at:
                self.torn = self.name_torn(path, line, lines, is_last)
                return
            self.take_line(line.text)

    def name_torn(self, path, line, rest, is_last):
        """What a crash leaves is torn: nothing signed, and no line of the log behind it."""
        at, number = self.tree.end, line.number(self.origin)
        if number is not None:
            raise Wrong("line %d stands where line %d should" % (number, at))
        is_end = is_last and at >= self.signed
        if is_end and all(other.number(self.origin) is None for other in rest):
            return "torn tail of %d bytes" % (os.path.getsize(path) - line.offset)
        if line.is_too_long:
            place = os.path.basename(path)[:20], line.offset
            raise Wrong("line too long at %d (segment %s, byte %d)" % ((at,) + place))
        if is_last and not line.ended:
            raise self.truncated()
        raise Wrong("what stands at %d is no line of this log" % at)

    def read_hashes(self, path, following):
        """What is left of lines whose time was over: none of them is past what is signed."""
        with open_regular(path) as file:
            for leaf in iter(lambda: file.read(32), b""):
                if self.tree.end == following:
                    raise Wrong("line inserted at %d" % following)
                if self.tree.end >= self.signed:
                    raise Wrong("line missing at %d" % self.tree.end)
                if len(leaf) != 32:
                    raise Wrong("the hash of line %d is cut off" % self.tree.end)
                self.take_leaf(leaf)
                self.removed += 1

    def take_line(self, line):
        if self.tree.end < self.signed:
            self.told = max(self.told, read_removal(line))
        else:
            self.told_later = max(self.told_later, read_removal(line))
            self.tail.add(line)
        self.take_leaf(leaf_hash(line))

    def take_leaf(self, leaf):
        self.segment.add(leaf)
        self.tree.add(leaf)
        self.compare_root()

    def compare_root(self):
        size = self.tree.end
        if size not in self.roots or self.differing:
            return
        if self.tree.root() == self.roots[size]:
            self.right = size
        else:
            place = "the lines are as they were signed up to %d" % self.right
            self.differing = Wrong("root differs at size %d; %s" % (size, place))

    def truncated(self):
        numbers = self.signed, self.tree.end
        return Wrong("truncated: checkpoint says %d, log has %d" % numbers, TRUNCATED)

    def judge(self, checkpoints):
        goes_on = checkpoints.are_outdated()
        if self.signed > self.tree.end:
            raise self.truncated()
        if self.removed > max(self.told, self.told_later if goes_on else 0):
            problem = "removal not told: the first %d events are gone" % self.removed
            raise Wrong(problem, UNACCOUNTED)
        if self.tail.is_overdue() and not goes_on:
            problem = "unsigned for too long: the last %d events" % self.tail.lines
            raise Wrong(problem, UNACCOUNTED)
        if self.torn or checkpoints.problem:
            raise Wrong(self.torn or checkpoints.problem, TORN)
        return "ok: %d events, signed up to %d" % (self.tree.end, self.signed)


def check_log(directory):
    key = Key(read_text(os.path.join(directory, "vkey")))
    checkpoints = Checkpoints(directory, key)
    log = Log(key, checkpoints)
    try:
        log.read(directory)
        answer = log.differing or log.judge(checkpoints)
    except Wrong as wrong:
        answer = log.differing or wrong
    # What nothing signs may have been written by anybody.
    if not checkpoints.roots and getattr(answer, "code", 0) in (0, TORN, UNACCOUNTED):
        answer = Wrong("it has no checkpoint", UNCHECKED)
    if isinstance(answer, Wrong):
        raise answer
    return answer


def main(arguments):
    commands = {"proof": (check_proof, 3), "log": (check_log, 1)}
    command, wanted = commands.get(arguments[0] if arguments else "", (None, 0))
    if command is None or len(arguments) != wanted + 1:
        return UNCHECKED, __doc__
    try:
        return 0, command(*arguments[1:])
    except Wrong as wrong:
        problem = "could not check" if wrong.code == UNCHECKED else "not verified"
        return wrong.code, "%s: %s" % (problem, wrong)
    except Exception as error:
        is_told = isinstance(error, (OSError, ValueError))
        kind = "" if is_told else type(error).__name__ + ": "
        return UNCHECKED, "could not check: %s%s" % (kind, error)


if __name__ == "__main__":
    code, text = main(sys.argv[1:])
    try:
        text = text.encode("ascii", "backslashreplace").decode()
        print(text, file=sys.stderr if code else sys.stdout, flush=True)
    except Exception:
        # An answer that nobody can read is none.
        code = code or UNCHECKED
    sys.exit(code)
