"""Certificates and keys, all made by openssl: for TLS, and for those who sign specifications."""

import dataclasses
import pathlib
import subprocess

DAYS = "30"


def openssl(*arguments, stdin=None):
    """Runs openssl and gives what it printed; its own words are the error."""
    ran = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(map(str, arguments))}: {ran.stderr.decode(errors='replace')}")
    return ran.stdout


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate with its key, and the certificates between it and its root."""

    certificate: pathlib.Path
    key: pathlib.Path
    between: tuple = ()


class Authority:
    """A certification authority in a directory of its own."""

    def __init__(self, directory, name="Peers Authority", parent=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.parent = parent
        extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        if parent:
            self.pair = parent.issue(name, extensions, directory=self.directory)
        else:
            self.pair = self_signed(self.directory / "authority", name, "ec")

    @property
    def certificate(self):
        """The file of its own certificate."""
        return self.pair.certificate

    def server(self, *names):
        """A TLS server's certificate for names and addresses."""
        alternatives = ",".join(f"IP:{name}" if name[0].isdigit() else f"DNS:{name}" for name in names)
        return self.issue(
            "Peers TLS",
            "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n"
            f"subjectAltName={alternatives}\n",
        )

    def signer(self, name="Peers Signer", kind="rsa"):
        """A certificate for signing specifications, a leaf."""
        return self.issue(name, "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n", kind)

    def version_one(self, name):
        """A certificate without any extension, which makes it one of X.509's first version."""
        stem = self.directory / name.lower().replace(" ", "-")
        key, request, certificate = (stem.with_suffix(ending) for ending in (".key", ".csr", ".pem"))
        openssl("req", "-new", *new_key("rsa"), "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.pair.certificate, "-CAkey", self.pair.key,
            "-CAcreateserial", "-days", DAYS, "-out", certificate,
        )  # fmt: skip
        return Pair(certificate, key)

    def issue(self, name, extensions, kind="ec", directory=None):
        """A certificate under this authority."""
        stem = pathlib.Path(directory or self.directory) / name.lower().replace(" ", "-")
        stem.parent.mkdir(parents=True, exist_ok=True)
        key, request, certificate = (stem.with_suffix(ending) for ending in (".key", ".csr", ".pem"))
        rules = stem.with_suffix(".ext")
        rules.write_text(extensions + "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        openssl("req", "-new", *new_key(kind), "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.pair.certificate, "-CAkey", self.pair.key,
            "-CAcreateserial", "-days", DAYS, "-sha256", "-extfile", rules, "-out", certificate,
        )  # fmt: skip
        between = (self.pair.certificate, *self.pair.between) if self.parent else ()
        return Pair(certificate, key, between)


def self_signed(stem, name, kind="rsa", options=()):
    """What `openssl req -x509` makes when nobody says more: a certificate that is its own authority."""
    stem = pathlib.Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    pair = Pair(stem.with_suffix(".pem"), stem.with_suffix(".key"))
    openssl(
        "req", "-x509", *new_key(kind), "-nodes", "-days", DAYS, "-subj", f"/CN={name}",
        "-keyout", pair.key, "-out", pair.certificate, *options,
    )  # fmt: skip
    return pair


def new_key(kind):
    """openssl's words for a new key."""
    return {
        "rsa": ("-newkey", "rsa:2048"),
        "rsa3072": ("-newkey", "rsa:3072"),
        "rsa1024": ("-newkey", "rsa:1024"),
        "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        "ec384": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"),
    }[kind]
