"""Revisions for tests: a few files and scripts, packed as people pack them."""

import io
import os
import tarfile
import zipfile

MTIME = 1_790_000_000


def pack(kind, files):
    """A bundle of `files`: path to text, or to (text, mode). `kind` is zip, tar or tgz."""
    entries = [(path, *entry(what)) for path, what in files.items()]
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content, mode in entries:
                about = zipfile.ZipInfo(path, (2026, 9, 21, 12, 0, 0))
                about.external_attr = (0o100000 | mode) << 16
                about.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(about, content)
        return packed.getvalue()
    with tarfile.open(fileobj=packed, mode={"tar": "w:", "tgz": "w:gz"}[kind]) as archive:
        for path, content, mode in entries:
            about = tarfile.TarInfo(path)
            about.size, about.mode, about.mtime = len(content), mode, MTIME
            archive.addfile(about, io.BytesIO(content))
    return packed.getvalue()


def unpack(kind, packed, directory):
    """Unpacks a bundle that `pack` made, with the modes of its files."""
    if kind == "zip":
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            for about in archive.infolist():
                path = archive.extract(about, directory)
                mode = about.external_attr >> 16 & 0o777
                if mode and not about.is_dir():
                    os.chmod(path, mode)
        return
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:*") as archive:
        archive.extractall(directory)


def script(lines):
    """An executable shell script."""
    return f"#!/bin/sh\n{lines}\n", 0o755


def entry(what):
    text, mode = what if isinstance(what, tuple) else (what, 0o644)
    return text if isinstance(text, bytes) else text.encode(), mode
