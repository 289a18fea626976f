"""Computes tests/suite17.hex apart from the Rust code: python3 suite17.py > suite17.hex (needs openssl)."""
import hashlib, hmac, subprocess

sik = bytes(range(32))
k = lambda n: hmac.new(sik, bytes([n]) * 20, hashlib.sha256).digest()
message = bytes([0x20, 0x00, 0xE0, 0x81, 0x04, 0x02, 0x00, 0x79])
iv = bytes(range(16))
pad = -(len(message) + 1) % 16
plain = message + bytes(range(1, pad + 1)) + bytes([pad])
aes = ["openssl", "enc", "-aes-128-cbc", "-nopad", "-K", k(2)[:16].hex(), "-iv", iv.hex()]
payload = iv + subprocess.run(aes, input=plain, capture_output=True, check=True).stdout
body = bytes([6, 0xC0]) + (0x04030201).to_bytes(4, "little") + (3).to_bytes(4, "little")
body += len(payload).to_bytes(2, "little") + payload
pad = -(len(body) + 2) % 4
body += b"\xff" * pad + bytes([pad, 7])
print((bytes([6, 0, 0xFF, 7]) + body + hmac.new(k(1), body, hashlib.sha256).digest()[:16]).hex())
