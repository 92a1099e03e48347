#!/usr/bin/env python3
"""Checks an audit log, or the proof of one event, from the open specifications alone:
RFC 6962 (tree), RFC 8032 (Ed25519), c2sp.org/signed-note, /tlog-checkpoint and /tlog-proof.

    verify.py proof VKEY EVENT PROOF
    verify.py log DIRECTORY
"""
import base64
import hashlib
import json
import os
import sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


class Wrong(Exception):
    pass


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
                raise Wrong("bad signature")
            signed = True
    if not signed:
        raise Wrong("bad signature: none by this key")
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


def check_proof(vkey_file, event_file, proof_file):
    vkey = read_vkey(open(vkey_file).read())
    line = open(event_file, "rb").read().removesuffix(b"\n")
    head, _, note = open(proof_file, encoding="utf-8").read().partition("\n\n")
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


def check_log(directory):
    vkey = read_vkey(open(os.path.join(directory, "vkey")).read())
    notes = [json.loads(line)["note"] for line in open(os.path.join(directory, "checkpoints.jsonl"))]
    notes.append(open(os.path.join(directory, "checkpoint"), encoding="utf-8").read())
    roots = dict(read_checkpoint(note, vkey) for note in notes)
    stack, count, segments = [], 0, os.path.join(directory, "segments")
    for name in sorted(n for n in os.listdir(segments) if n.endswith(".jsonl")):
        if int(name[:20]) != count:
            raise Wrong(f"line missing at {count}")
        for line in open(os.path.join(segments, name), "rb"):
            entry = json.loads(line)
            if not line.endswith(b"\n") or entry["seq"] != count or entry["log"] != vkey[0]:
                raise Wrong(f"line {count} is not in its place")
            stack.append((1, sha256(b"\x00" + line[:-1])))
            while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
                (size, left), (_, right) = stack[-2:]
                stack[-2:] = [(2 * size, node(left, right))]
            count += 1
            if count in roots:
                root = stack[-1][1]
                for _, left in reversed(stack[:-1]):
                    root = node(left, root)
                if root != roots[count]:
                    raise Wrong(f"root differs at size {count}")
    if max(roots) > count:
        raise Wrong(f"truncated: checkpoint says {max(roots)}, log has {count}")
    return f"ok: {count} events, signed up to {max(roots)}"


if __name__ == "__main__":
    commands = {"proof": (check_proof, 3), "log": (check_log, 1)}
    command, wanted = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != wanted + 2:
        sys.exit(__doc__)
    try:
        print(command(*sys.argv[2:]))
    except Wrong as wrong:
        print(f"not verified: {wrong}", file=sys.stderr)
        sys.exit(1)
    except (OSError, ValueError, KeyError, IndexError) as error:
        print(f"could not check: {error}", file=sys.stderr)
        sys.exit(2)
