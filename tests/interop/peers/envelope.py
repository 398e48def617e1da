"""Envelopes of deployment specifications, sealed and opened by openssl."""

import base64
import json
import os
import subprocess
import tempfile

from . import trust

FORMAT = "PKCS7/JSON"


def seal(specification, signer, *options, digest="sha256"):
    """The generic envelope of a specification: `openssl smime -sign -nodetach -binary`.

    `options` are more words for openssl, such as `-noattr`.
    """
    content = specification if isinstance(specification, bytes) else json.dumps(specification).encode()
    words = ["smime", "-sign", "-nodetach", "-binary", "-md", digest, "-outform", "PEM", *options]
    words += ["-signer", signer.certificate, "-inkey", signer.key]
    with tempfile.NamedTemporaryFile(suffix=".pem") as chain:
        if signer.between:
            chain.write(b"".join(path.read_bytes() for path in signer.between))
            chain.flush()
            words += ["-certfile", chain.name]
        pem = trust.openssl(*words, stdin=content)
    return {"Format": FORMAT, "Payload": pem.decode()}


def tampered(envelope, old, new):
    """The same envelope with some bytes of its content changed for as many others."""
    if len(old) != len(new):
        raise ValueError("what is put in must be as long as what it replaces")
    lines = envelope["Payload"].strip().splitlines()
    der = base64.b64decode("".join(lines[1:-1]))
    if der.count(old) != 1:
        raise ValueError(f"{old!r} occurs {der.count(old)} times in the envelope")
    changed = base64.b64encode(der.replace(old, new)).decode()
    body = [changed[at : at + 64] for at in range(0, len(changed), 64)]
    return {**envelope, "Payload": "\n".join([lines[0], *body, lines[-1], ""])}


class BadEnvelope(Exception):
    """openssl does not accept an envelope."""


def open_envelope(envelope, ca_file=None):
    """The content of an envelope, after `openssl smime -verify`.

    With `ca_file` the signer must chain to it; without, only the signature counts, which is all that AWS's
    agents look at.
    """
    if envelope.get("Format") != FORMAT:
        raise BadEnvelope(f"the format is {envelope.get('Format')!r}, not {FORMAT}")
    how = ["-CAfile", str(ca_file), "-purpose", "any"] if ca_file else ["-noverify"]
    ran = subprocess.run(
        ["openssl", "smime", "-verify", "-binary", "-inform", "PEM", *how],
        input=envelope["Payload"].encode(),
        capture_output=True,
        env={**os.environ, "SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/dev/null"},
        check=False,
    )
    if ran.returncode != 0:
        raise BadEnvelope(ran.stderr.decode(errors="replace").strip())
    return ran.stdout
