"""Compiled code, told by its first bytes, whatever a file is called."""

from __future__ import annotations

HEAD_BYTES = 4096
_ELF, _WASM = b"\x7fELF", b"\0asm"
_MACH_O = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
_UNIVERSAL = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
_MAX_ARCHITECTURES = 30


def is_native(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a library or a program (ELF, Mach-O, PE, Wasm)"""
    magic = head[:4]
    if magic in (_ELF, _WASM) or magic in _MACH_O:
        return True
    if magic in _UNIVERSAL:
        # Java's classes begin alike; where they have a version (45 up), it has a count of architectures.
        return 0 < int.from_bytes(head[4:8], "big") <= _MAX_ARCHITECTURES
    if magic[:2] == b"MZ":
        at = int.from_bytes(head[60:64], "little")
        return head[at : at + 4] == b"PE\0\0"
    return False
