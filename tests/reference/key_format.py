#!/usr/bin/env python3
"""A second, independent statement of the key-file and record formats: prints the golden bytes that
tests/unit/seal_test.cc and key_vault_test.cc hold. Python's own BLAKE2b; ChaCha20-Poly1305 (RFC 8439)
and XChaCha20 (draft-irtf-cfrg-xchacha-03) written out below from their texts.

Usage: key_format.py
"""
import hashlib
import struct


def p32(key, label, data):
    return hashlib.blake2b(data, digest_size=32, key=key, person=label.encode().ljust(16, b"\0")).digest()


def rotate(value, bits):
    return ((value << bits) | (value >> (32 - bits))) & 0xFFFFFFFF


def rounds(state):
    x = list(state)
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            x[a] = (x[a] + x[b]) & 0xFFFFFFFF
            x[d] = rotate(x[d] ^ x[a], 16)
            x[c] = (x[c] + x[d]) & 0xFFFFFFFF
            x[b] = rotate(x[b] ^ x[c], 12)
            x[a] = (x[a] + x[b]) & 0xFFFFFFFF
            x[d] = rotate(x[d] ^ x[a], 8)
            x[c] = (x[c] + x[d]) & 0xFFFFFFFF
            x[b] = rotate(x[b] ^ x[c], 7)
    return x


CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def chacha20_block(key, counter, nonce):
    state = CONSTANTS + struct.unpack("<8I", key) + (counter,) + struct.unpack("<3I", nonce)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(rounds(state), state)))


def hchacha20(key, nonce):
    x = rounds(CONSTANTS + struct.unpack("<8I", key) + struct.unpack("<4I", nonce))
    return struct.pack("<8I", *(x[:4] + x[12:]))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for i in range(0, len(message), 16):
        total = (total + int.from_bytes(message[i:i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def pad16(data):
    return data + b"\0" * (-len(data) % 16)


def chacha20_poly1305(key, nonce, plain, bound):
    stream = b"".join(chacha20_block(key, 1 + i, nonce) for i in range((len(plain) + 63) // 64))
    cipher = bytes(a ^ b for a, b in zip(plain, stream))
    tag = poly1305(chacha20_block(key, 0, nonce)[:32],
                   pad16(bound) + pad16(cipher) + struct.pack("<QQ", len(bound), len(cipher)))
    return cipher + tag


def xchacha20_poly1305(key, nonce, plain, bound):
    return chacha20_poly1305(hchacha20(key, nonce[:16]), b"\0\0\0\0" + nonce[16:], plain, bound)


def header_page(kind, number, master, keys, nonce):
    page = b"mayfly-key-file\0" + struct.pack(">BBHI8x", 1, kind, 1, number) + nonce
    page += p32(master, "mf-commit-1", page)
    page += xchacha20_poly1305(master, nonce, keys, page)
    return (page + hashlib.blake2b(page, digest_size=32).digest()).ljust(4096, b"\0")


def destroyed_page(kind, number):
    page = (b"mayfly-destroyed" + struct.pack(">BBHI", 1, kind, 0, number)).ljust(168, b"\0")
    return (page + hashlib.blake2b(page, digest_size=32).digest()).ljust(4096, b"\0")


def slot(day_key, days, number, generation, subject_key, nonce):
    start = struct.pack(">BBH", 1, 1, generation)
    return start + nonce + chacha20_poly1305(p32(day_key, "mf-slot-1", b""), nonce, subject_key,
                                             start + struct.pack(">II", days, number))


def pair(day_key, subject_key, days, number, generation):
    identity = struct.pack(">IIH", days, number, generation)
    return bytes(a ^ b for a, b in zip(p32(day_key, "mf-pair-d1", identity),
                                       p32(subject_key, "mf-pair-s1", identity)))


def record(pair_key, organisation, family, column, engine_key, expires_ms, number, generation, account,
           direction, r, body):
    """A record whose body is stored as it is (flags 0)."""
    plain = pad16(b"\0" + struct.pack(">I", len(body)) + body)
    derived = hashlib.blake2b(column + hashlib.blake2b(engine_key, digest_size=32).digest() + r,
                              digest_size=56, key=pair_key, person=b"mf-rec-1".ljust(16, b"\0")).digest()
    bound = (struct.pack(">BHIIHQB", 1, organisation, account, number, generation, expires_ms, direction)
             + struct.pack(">H", len(family)) + family + struct.pack(">I", len(engine_key)) + engine_key)
    clear = b"\1" + column + struct.pack(">IHIB", number, generation, account, direction) + r
    return clear + xchacha20_poly1305(derived[:32], derived[32:], plain, bound)


def ledger(root, generation):
    told = b"mayfly-ledger".ljust(16, b"\0") + bytes([1]) + bytes(7) + struct.pack(">Q", generation)
    return told + p32(p32(root, "mf-ledger-1", b""), "mf-ledger-mac", told)


def passphrase_record(master, passes, memory, salt):
    """The key that Argon2id gives is an input here."""
    told = b"mayfly-argon2id".ljust(16, b"\0") + bytes([1]) + bytes(3) + struct.pack(">IQ", passes, memory) + salt
    told += p32(master, "mf-passphrase-1", told)
    return told + hashlib.blake2b(told, digest_size=32).digest()


def count(start, length):
    return bytes((start + i) & 0xFF for i in range(length))


def main():
    days = 20872  # 2027-02-23
    day_key, index_key, subject_key, master = count(0x10, 32), count(0x40, 32), count(0x70, 32), count(0xA0, 32)
    print("header    ", header_page(2, days, master, day_key + index_key, count(0xC0, 24))[:200].hex())
    print("destroyed ", destroyed_page(2, days)[:200].hex())
    print("slot      ", slot(day_key, days, 65, 1, subject_key, count(0xD0, 12)).hex())
    lock = pair(day_key, subject_key, days, 65, 1)
    print("pair      ", lock.hex())
    print("record    ", record(lock, 1, b"D20270223", b"m", count(0x01, 20), days * 86400000, 65, 1, 7, 1,
                               count(0xE0, 24), b"Hi.").hex())
    print("ledger    ", ledger(count(0x01, 32), 0x0102030405060708).hex())
    # Argon2id of "correct horse battery" with this salt, one pass, 8 KiB; by libsodium.
    words = bytes.fromhex("3364870fda5e01a7f5080d2f337a7795a232c6fb2afb8478f2c139c61703ad21")
    print("passphrase", passphrase_record(words, 1, 8192, count(0xC0, 16)).hex())
    print("purpose   ", p32(index_key, "cursor-1", b"").hex())
    print("blind     ", hashlib.blake2b(b"conversation", digest_size=16, key=index_key,
                                        person=b"h".ljust(16, b"\0")).hexdigest())


if __name__ == "__main__":
    main()
