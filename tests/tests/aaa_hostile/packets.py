"""Packets as pyrad builds them, odd ones among them: a line of JSON for each, with its name, its port and its bytes.

Arguments: the secret, alice's password, how many packets of random attributes, and the seed for these.
"""

import hashlib
import hmac
import io
import json
import random
import struct
import sys

from pyrad import packet
from pyrad.dictionary import Dictionary

SECRET, PASSWORD = sys.argv[1].encode(), sys.argv[2]
COUNT, SEED = int(sys.argv[3]), int(sys.argv[4])
SIGNATURE = 80

NAMES = Dictionary(
    io.StringIO(
        """
ATTRIBUTE User-Name 1 string
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE NAS-Port 5 integer
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Tunnel-Type 64 integer has_tag
VENDOR Cisco 9
BEGIN-VENDOR Cisco
ATTRIBUTE Cisco-AVPair 1 string
END-VENDOR Cisco
"""
    )
)


def signed(raw, key=SECRET):
    """Fills the Message-Authenticator that stands first."""
    assert raw[20] == SIGNATURE
    return raw[:22] + hmac.new(key, raw, hashlib.md5).digest() + raw[38:]


def login(*attributes, code=packet.AccessRequest, key=SECRET, signature=True, user="alice", secret=True):
    request = packet.AuthPacket(
        code, secret=SECRET, authenticator=packet.Packet.CreateAuthenticator(), dict=NAMES
    )
    if signature:
        request[SIGNATURE] = [bytes(16)]
    if user is not None:
        request["User-Name"] = user
    if secret:
        request[2] = [request.PwCrypt(PASSWORD)]
    for kind, value in attributes:
        request.AddAttribute(kind, value)
    raw = request.RequestPacket()
    return signed(raw, key) if signature else raw


def account(session, *attributes, status=1, secret=SECRET, code=packet.AccountingRequest):
    record = packet.AcctPacket(code, secret=secret, dict=NAMES)
    record["User-Name"] = "alice"
    if status is not None:
        record["Acct-Status-Type"] = status
    record["Acct-Session-Id"] = session
    for kind, value in attributes:
        record.AddAttribute(kind, value)
    return record.RequestPacket()


def filled(length):
    """A login of exactly so many bytes."""
    bare = len(login())
    texts = []
    while length - bare > 255:
        texts.append((18, b"x" * 200))
        bare += 202
    texts.append((18, b"x" * (length - bare - 2)))
    raw = login(*texts)
    assert len(raw) == length
    return raw


def with_byte(raw, at, value):
    return raw[:at] + bytes([value]) + raw[at + 1 :]


def emit(name, port, raw):
    print(json.dumps({"name": name, "port": port, "bytes": raw.hex()}))


# What is well formed, however odd.
emit("plain", "auth", login(("NAS-IP-Address", "192.0.2.1"), ("NAS-Port", 7)))
for kind in (0, 4, 5, 18, 24, 26, 31, 33, 44, 61, 64, 87, 95, 97, 168, 241, 245, 255):
    emit(f"nothing in attribute {kind}", "auth", login((kind, b"")))
emit("nothing in a vendor's attribute", "auth", login(((9, 1), b""), ("Cisco-AVPair", "")))
emit("a vendor's text", "auth", login(("Cisco-AVPair", "ip:addr-pool=home")))
for what, value in (
    ("an address of one byte", (4, b"\1")),
    ("a port of three bytes", (5, b"\0\0\1")),
    ("a port type of five bytes", (61, b"\0\0\0\0\5")),
    ("an IPv6 address of 15 bytes", (95, bytes(15))),
    ("an IPv6 prefix of 200 bits", (97, b"\0\xc8" + bytes(16))),
    ("an IPv6 prefix that says more than it has", (97, b"\0\x40\x20")),
):
    emit(what, "auth", login(value))
for cut in range(1, 7):
    whole = struct.pack("!LBB", 311, 11, 18)
    emit(f"a vendor's attribute cut after {cut}", "auth", login((26, whole[:cut])))
emit("a vendor's attribute that is longer than it is", "auth", login((26, struct.pack("!LBB", 9, 1, 250))))
emit("a vendor's attribute in rubbish", "auth", login((26, struct.pack("!LBBB", 9, 1, 3, 65) + b"\1")))
for tag in (0, 31, 32, 255):
    emit(f"tag {tag}", "auth", login((f"Tunnel-Type:{tag}", 13)))
emit("a tunnel's password without an end", "auth", login((69, b"\xff\x80\1" + b"x" * 15)))
# RFC 6929.
for what, values in (
    ("an extended attribute", [(241, b"\1text")]),
    ("an extended attribute of its type alone", [(241, b"\1")]),
    ("an extended vendor's attribute", [(241, b"\x1a" + struct.pack("!LB", 9, 1) + b"text")]),
    ("an extended vendor's attribute cut short", [(241, b"\x1a\0\0\0")]),
    ("a long extended attribute", [(245, b"\1\0text")]),
    ("a long extended attribute without its flags", [(245, b"\1")]),
    ("a long extended attribute that does not end", [(245, b"\1\x80text")]),
    ("a long extended attribute in pieces", [(245, b"\1\x80" + b"x" * 200)] * 3 + [(245, b"\1\0end")]),
    ("pieces of two long extended attributes", [(245, b"\1\x80a"), (246, b"\1\x80b"), (245, b"\2\0c")]),
    ("a long extended attribute with reserved flags", [(246, b"\x1a\x7f" + struct.pack("!LB", 9, 1))]),
):
    emit(what, "auth", login(*values))
emit("4096 bytes", "auth", filled(4096))
emit("Status-Server", "auth", login(code=packet.StatusServer, user=None, secret=False))
emit("Status-Server at the other port", "acct", login(code=packet.StatusServer, user=None, secret=False))

# What can't be a login.
emit("no password", "auth", login(secret=False))
emit("half a CHAP-Password", "auth", login((3, b"\7" * 16), secret=False))
emit("an empty CHAP-Password", "auth", login((3, b""), secret=False))
emit("an empty EAP-Message", "auth", login((79, b""), secret=False))
emit("a stranger", "auth", login(user="mallory"))

# What nobody signed as he should.
emit("no Message-Authenticator", "auth", login(signature=False))
emit("another secret", "auth", login(key=b"another secret"))
emit("a second Message-Authenticator", "auth", login((SIGNATURE, bytes(16))))
emit("a second Message-Authenticator of nothing", "auth", login((SIGNATURE, b"")))
for length in (0, 15, 17):
    emit(f"a Message-Authenticator of {length} bytes", "auth", login((SIGNATURE, bytes(length)), signature=False))
emit("Status-Server of nobody", "auth", login(code=packet.StatusServer, user=None, secret=False, signature=False))

# What is no RADIUS.
emit("4097 bytes", "auth", filled(4097))
good = login((18, b"last"))
emit("a byte less", "auth", good[:-1])
emit("a header alone, which promises more", "auth", good[:20])
emit("a Length that is too great", "auth", with_byte(good, 2, 0x7F))
emit("a Length of 1", "auth", with_byte(with_byte(good, 2, 0), 3, 1))
for length, what in ((0, "of no length"), (1, "of length 1"), (7, "that reaches beyond the end")):
    emit(f"an attribute {what}", "auth", with_byte(good, len(good) - 5, length))

# What is another's.
for code in (0, 6, 7, 10, 13, 30, 50, 255):
    emit(f"code {code}", "auth", login(code=code))
for port in ("auth", "acct"):
    for code in (packet.DisconnectRequest, packet.CoARequest, packet.CoAACK):
        order = packet.CoAPacket(code, secret=SECRET, dict=NAMES)
        order["User-Name"] = "alice"
        emit(f"code {code} at {port}", port, order.RequestPacket())
emit("accounting at the wrong port", "auth", account("lost"))
emit("a login at the wrong port", "acct", login())

# Records.
emit("a record", "acct", account("p1", ("NAS-IP-Address", "192.0.2.1")))
emit("a record with nothing in it", "acct", account("p2", *[(kind, b"") for kind in (4, 5, 8, 26, 31, 42, 46, 55, 97, 241)]))
emit("a record with a vendor's attribute cut short", "acct", account("p3", (26, b"\0\0\1")))
emit("a record with extended attributes", "acct", account("p4", (245, b"\1\x80a"), (241, b"\x1a\0")))
emit("a record with tags", "acct", account("p5", ("Tunnel-Type:200", 13), (66, b"\xffx"), (68, b"")))
emit("a record of another secret", "acct", account("lost", secret=b"another secret"))
emit("a record without a status", "acct", account("lost", status=None))
emit("a record of no session", "acct", account(""))

# Whatever else there may be, in any order and length.
chance = random.Random(SEED)
KINDS = [kind for kind in range(256) if kind not in (1, 2, 3, 79, SIGNATURE)]
for number in range(COUNT):
    room, attributes = chance.choice((300, 1500, 3900)), []
    while len(attributes) < 200:
        value = chance.randbytes(chance.choice((0, 1, 2, 3, 4, 6, 16, 17, 18, 60, 253)))
        if len(value) + 2 > room:
            break
        room -= len(value) + 2
        attributes.append((chance.choice(KINDS), value))
    emit(f"random {number}", "auth", login(*attributes))
