#!/usr/bin/python3
"""Writes what the fuzzers begin with: those of the wire every method and message of proto/message_table.h, small and
full; those of the worker its own kinds of text; that of pictures each kind of picture.

Usage: tests/fuzz/seeds.py TARGET FOLDER   A target that is not known here gets an empty folder.
"""
import os
import re
import sys

import msgpack

TABLE = os.path.join(os.path.dirname(__file__), "../../proto/message_table.h")
ID = "01977420-a4ab-7cde-8f01-23456789abff"
LEASE = "00112233445566778899aabbccddeeff"
WORDS = {
    "job_state_names": "ready",
    "failure_kind_names": "timeout",
    "role_names": "worker",
    "extend_status_names": "ok",
    "admission_names": "deadline",
    "limit_state_names": "full",
    "breaker_phase_names": "closed",
    "wait_reason_names": "held",
    "worker_state_names": "active",
}
SHAPES = {"sha256": "ab" * 32, "progress": 0.5, "jitter": 0.5, "factor": 2.0}
SCALARS = {"STR": "text", "ASCII": "video/mp4", "NAME": "videos", "BYTES": b"\x00\xc1bytes", "INT": 1, "FLOAT": 1.0,
           "BOOL": True, "UUID": ID, "TOKEN": LEASE, "RAW": [{"queue": "videos", "payload": b"x"}, 5, None]}


def read_table():
    """The fields of every message, and the methods, as the text of the table has them."""
    text = re.sub(r"/\*.*?\*/", "", open(TABLE, encoding="utf-8").read(), flags=re.S).replace("\\\n", " ")
    messages = {}
    for name, body in re.findall(r"#define FIELDS_(\w+)\(F, E, S, L, N, P, W\)(.*)", text):
        messages[name] = re.findall(r"\b([FESLNPW])\(([^()]*)\)", body)
    methods = re.findall(r'X\((\w+), "([\w.]+)", \w+, (\w+), (\w+)\)', text)
    assert len(messages) > 40 and len(methods) > 20, "the table is not written as it was"
    return messages, methods


def value(messages, kind, arguments, full):
    if kind == "F":
        name = arguments[1]
        return SHAPES.get(name, SCALARS[arguments[0]])
    if kind == "E":
        return WORDS[arguments[2]]
    if kind == "S":
        return build(messages, arguments[2], full)
    if kind == "L":
        return [build(messages, arguments[2], full)] * (2 if full else 1)
    if kind == "N":
        return ["videos", "_webhooks"]
    if kind == "W":
        return {"vip": 5, "free": 1}
    return {"key": "value", "other": ""}


def build(messages, name, full):
    result = {}
    for kind, text in messages[name]:
        arguments = [a.strip() for a in text.split(",")]
        field, presence = (arguments[1], arguments[2]) if kind == "F" else (arguments[0], arguments[1])
        if presence != "REQUIRED" and not full:
            continue
        result[field] = value(messages, kind, arguments if kind == "F" else [arguments[0], *arguments[1:]], full)
    return result


class Twice:
    """A map with one key two times."""

    def __init__(self, key):
        self.key = msgpack.packb(key)


def pack(message):
    packed = []

    def extra(thing):
        packed.append(b"\x82" + (thing.key + b"\xc0") * 2)
        return msgpack.ExtType(0, b"%d" % (len(packed) - 1))

    result = msgpack.packb(message, default=extra)
    for i, piece in enumerate(packed):
        result = result.replace(b"\xd4\x00%d" % i, piece)
    return result


def envelopes():
    messages, methods = read_table()
    for _, name, params, result in methods:
        for full in (False, True):
            yield [0, 300, name, [build(messages, params, full)]]
            yield [1, 300, None, build(messages, result, full)]
        yield [2, name, []]
    yield [1, 7, build(messages, "error", True), None]
    yield [0, 2**64 - 1, b"job.get", [{"id": ID.upper(), "unknown": {1: [None, 1.5, msgpack.ExtType(5, b"xy")]}}]]
    yield [0, 1, "job.get", [{"id": ID}, {"id": ID}]]
    for shift in range(4):
        # a key twice, too long to be told in full and of characters that may be cut in two
        yield [0, 1, "job.put", [{"preview": Twice("k" * shift + "\U0001f3ac" * 30)}]]


HOSTILE = ["dd04000000", "ddffffffff", "940001a16d91ddffffffff", "940001a16d91df02000000",
           "940001a16ddbffffffff", "9400c1", "93" * 40, "940001a16d9182a16b01a16b01", "dc000302a16d90"]


# Headers, an empty line and a body.
SIGNED = [b"webhook-id:m\nwebhook-timestamp:1700000000\nwebhook-signature:v1,AAAA v1a,x v1,g0hM9SsE+OTPJTGt=\n\n{}",
          b"svix-id:m\nsvix-timestamp:1700000000\nsvix-signature:v1,AAAA\n\n{}",
          b"x-signature:t=1700000000,v1=" + b"0" * 64 + b", v0=1,v1\n\n{}",
          b"x-fal-webhook-request-id:r\nx-fal-webhook-user-id:u\nx-fal-webhook-timestamp:1700000000\n"
          b"x-fal-webhook-signature:" + b"ab" * 64 + b"\n\n{}",
          b'\n{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}',
          b"\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]

FRAME = b"\xff\xc0\0\x11\x08\x05\0\x02\xd0\x03"
PICTURES = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\2\x80\0\0\1\x68", b"GIF89a\x80\2\x68\1",
            b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\1\x2a\x80\x42\x68\x81",
            b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x7f\xc2\x59\0", b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x7f\2\0\x67\1\0",
            b"\0\0\0\x1cftypavif\0\0\0\0 \0\0\0\x14ispe\0\0\0\0\0\0\2\x80\0\0\1\x68",
            b"\xff\xd8\xff\xe0\0\x04xx\xff" + FRAME,
            b"\xff\xd8\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6" + bytes(7) + FRAME,
            b"\xff\xd8\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x08" + bytes(6) + FRAME,
            b"\xff\xd8" + b"\xff\xe1\0\x10Exif\0\0II*\0\x08\0\0\0\xff\xff" * 20 + FRAME]

PART = '--B\r\nContent-Disposition: form-data; name="%s"\r\n%s\r\n%s\r\n'

# Lines of texts; what follows the last is a JSON text, or a body. As fuzz_template.c, fuzz_pointer.c, fuzz_retry_after.c
# and fuzz_form.c read it.
TEXTS = {
    "fuzz_form": [
        'multipart/form-data; boundary=B\n' + PART % ('payload', 'Content-Type: application/json\r\n', '{}') + '--B--',
        'multipart/form-data; boundary="B"\n' + PART % ('a', '', '') + PART % ('b', 'X: y\r\n', '\r\n--') + '--B--\r\n',
        'Multipart/Form-Data;x=y; boundary="B";\npreamble\r\n' + PART % ('a"; filename="\\"', '', '--B') + '--B--x',
        'multipart/form-data; boundary=B\n--B--', 'multipart/form-data; boundary="a\\"b\n',
    ],
    "fuzz_template": [
        '/v1/{input/a~1b}/{+id}?k={key}&x={answer/*/0}{{\n{"a/b":"../x","o":{"n":[1,2.5,null,true,"s"]}}',
        '{"model":"m","p":"{input/o}","t":"a {input/s} {job.attempt} b","l":["{input}","{meta.k}"]}\n{"o":{"x":1},"s":"y"}',
        '{env.HOME}{inptu}{}{input/~7}{\n[]', '{input}\n"\\u0000\\ud83c\\udfac"', '{+input/p}\n{"p":"a/../b//c/."}',
        '{meta.evil}{hook_url}{job.id}{job.queue}{id}{key}\n5',
    ],
    "fuzz_pointer": [
        '/a/b/0\n{"a":{"b":[1,2]}}', '/*/status/status_str\n{"x":{"status":{"status_str":"ok"}}}', '/a~1b/~0/\n{"a/b":{"~":{"":1}}}',
        '\n[1]', '/-\n[1]', '/00\n{"00":1}', '/' * 40 + '\n{}', '/*/*/*\n[[[1]],{"*":{"a":[2]}}]',
    ],
    "fuzz_retry_after": [
        '7\n\n', '1.5\n250\n', 'Tue, 14 Nov 2023 22:14:00 GMT\n\n30', '\n\n1700000045500', '-5\n1e99\n99999999999999999999999',
        'Tuesday, 14-Nov-23 22:14:00 GMT\nnan\ninf', 'Fri, 31 Dec 2099 23:59:59 +9999\n0x10\n1.2.3', '\n\n-1',
    ],
}


def main():
    target, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    seeds = []
    if target in ("fuzz_skim", "fuzz_messages"):
        seeds = [pack(e) for e in envelopes()] + [bytes.fromhex(h) for h in HOSTILE]
    if target == "fuzz_skim":
        seeds.append(b"".join(seeds[:8]))
    if target == "fuzz_signature":
        seeds += SIGNED
    if target == "fuzz_picture":
        seeds += PICTURES
    seeds += [text.encode() for text in TEXTS.get(target, [])]
    for i, seed in enumerate(seeds):
        with open(os.path.join(folder, "seed-%03d" % i), "wb") as f:
            f.write(seed)


main()
