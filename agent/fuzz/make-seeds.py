#!/usr/bin/env python3
"""Makes the seeds and the genuine envelopes anew, from the examples and golden files of this repository.

Wants tar, zip, zstd and openssl. What it makes is kept in the repository, so nobody needs to run it but who
adds a seed; the journal and the runner's files come from a real install and a real hook and are left alone.
"""

import io
import json
import pathlib
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "appspec-examples"
GENUINE = HERE / "genuine"
SEEDS = HERE / "seeds"


def put(target: str, name: str, content: bytes) -> None:
    (SEEDS / target).mkdir(parents=True, exist_ok=True)
    (SEEDS / target / name).write_bytes(content)


def run(*command: str, cwd: pathlib.Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(command, cwd=cwd, input=stdin, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def yaml_of(guide: str) -> list[str]:
    return re.findall(r"```ya?ml\n(.*?)```", (ROOT / "docs" / guide).read_text(), re.DOTALL)


def appspecs() -> None:
    for path in sorted(EXAMPLES.glob("*/*/appspec.yml")):
        put("appspec", "-".join(path.relative_to(EXAMPLES).parts[:-1]), path.read_bytes())
    for number, text in enumerate(yaml_of("appspec.md")):
        put("appspec", f"guide-{number}", text.encode())
    put("appspec", "everything", EVERYTHING.encode())
    put("appspec", "aliases", b"version: 0.0\nos: linux\nx: &a [1, 2, &b {c: d}]\nfiles: [*b, *a, *a]\nhooks: {*b : *a}\n")
    put("appspec", "lambda", b"version: 0.0\nResources:\n  - f: {Type: 'AWS::Lambda::Function', Properties: {}}\n")
    put("appspec", "mistakes", b"version: 1\nos: windows\nfiles:\n\t- source: ../x\npermissions: {}\nhooks:\n  Install: [{location: /x, timeout: 0}]\n")


EVERYTHING = """version: "0.0"
os: linux
file_exists_behavior: OVERWRITE
files:
  - {source: /, destination: /srv/app}
  - source: etc/app.conf
    destination: /etc/app
permissions:
  - object: /srv/app
    pattern: "*.sh"
    except: [run.sh, 'x[a-c]?']
    owner: app
    group: "1000"
    mode: 4755
    acls: ["u:app:rw", "d:g:web:rx", "m::rwx"]
    context: {user: unconfined_u, type: httpd_sys_content_t, range: s0-s0:c0.c1023}
    type: [file, directory]
  - {object: /etc/app/app.conf, mode: 0600}
hooks:
  ApplicationStop: [{location: scripts/stop.sh, timeout: 60, runas: app}]
  BeforeInstall:
    - location: "scripts/caf\\u00e9.sh"
"""


def configurations() -> None:
    files = yaml_of("configuration.md")
    for number, text in enumerate(files):
        put("config", f"guide-{number}", text.encode())
    put("config", "two-files", b"\n%%%\n".join(text.encode() for text in files[-2:]))
    put("config", "packaged", PACKAGED.encode())
    keys = re.findall(r"^\| `([a-z_0-9]+)`", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    words = sorted(set(keys) | {"region", "iam_user_arn", "iam_session_arn", "aws_access_key_id", "aws_secret_access_key", "aws_credentials_file"})
    values = ["true", "false", "strict", "compatible", "none", "http://user:pw@proxy:3128", "20G", "60", "/srv/x", "arn:aws:iam::111122223333:user/x", "&a", "*a", "\\x0a%%%\\x0a", "---\\x0a", "- ", ": "]
    dictionary("config", [word + ":" for word in words] + [":" + word + ":" for word in words[:4]] + values)


PACKAGED = """---
:log_aws_wire: false
:log_dir: '/var/log/aws/codedeploy-agent/'
:pid_dir: '/opt/codedeploy-agent/state/.pid/'
:program_name: codedeploy-agent
:root_dir: '/opt/codedeploy-agent/deployment-root'
:verbose: false
:wait_between_runs: 1
:proxy_uri:
:max_revisions: 5
"""


def dictionary(target: str, words: list[str]) -> None:
    (HERE / "dictionaries").mkdir(exist_ok=True)
    lines = ['"{}"\n'.format(word.replace('"', '\\"')) for word in words]
    (HERE / "dictionaries" / f"{target}.dict").write_text("".join(lines))


def dictionaries() -> None:
    keys = "version os files source destination file_exists_behavior permissions object pattern except owner group mode acls context user name type range hooks location timeout runas resources Resources sudo".split()
    events = "ApplicationStop BeforeInstall AfterInstall ApplicationStart ValidateService BeforeAllowTraffic AfterBlockTraffic".split()
    rest = ["0.0", "linux", "windows", "OVERWRITE", "RETAIN", "**", "[a-z]", "file", "directory", "d:u:x:rwx", "m::rx", "s0:c0.c1023", "AWS::ECS::", "&a", "*a", "<<", "!!str ", "!x", "|\\x0a", ">-\\x0a", "{", "}", "[", "]", "? ", "---\\x0a", "\\x09", "\\xef\\xbb\\xbf", "\\\\u00e9"]
    dictionary("appspec", [key + ": " for key in keys] + [event + ":" for event in events] + rest)
    members = json.loads((ROOT / "protocol/golden/specification.s3.json").read_text())
    names = sorted(set(re.findall(r'"([A-Za-z0-9]+)":', json.dumps(members))))
    dictionary("envelope", [f'"{name}":' for name in names] + ["-----BEGIN PKCS7-----\\x0a", "-----END PKCS7-----\\x0a", "../", "null", "[]", "{}"])
    dictionary("runner_files", [f'"{name}":' for name in RUNNER_KEYS] + ["null", "[]", "{}", '"closed"', "1969-12-31T23:59:59Z"])
    paths = ["../outside/secret", "/", "./", "a/b/", "ustar\\x0000", "ustar  \\x00", "path=", "linkpath=", "mtime=", "size=", "GNU.sparse.", "././@LongLink"]
    dictionary("unpack_tar", paths)
    dictionary("unpack_zip", ["PK\\x01\\x02", "PK\\x03\\x04", "PK\\x05\\x06", "PK\\x06\\x06", "PK\\x06\\x07", "UT\\x05\\x00", "up", "\\x01\\x00", "../outside/secret", "\\\\"])


RUNNER_KEYS = "format deployment group event index count subject name path user scripts_of this_deployment earlier program args environment directory account limits timeout secs nanos kill_grace output_grace logs scripts deployments runner boot id init_started pid started at script began ended end how exit signal output closed left_open holders command timed_out survivors interrupted not_started code message unwatched log log_trouble".split()


def archives() -> None:
    with tempfile.TemporaryDirectory() as temp:
        tree = pathlib.Path(temp) / "tree"
        (tree / "scripts").mkdir(parents=True)
        for script in ("start.sh", "stop.sh"):
            (tree / "scripts" / script).write_bytes((EXAMPLES / "hello-web/v2/scripts" / script).read_bytes()[:60])
            (tree / "scripts" / script).chmod(0o755)
        (tree / "appspec.yml").write_bytes((EXAMPLES / "hello-web/v2/appspec.yml").read_bytes()[:300])
        (tree / "current").symlink_to("scripts")
        (tree / "scripts/out").symlink_to("../../outside/secret")
        (tree / "twin").hardlink_to(tree / "appspec.yml")
        (tree / ("n" * 120)).mkdir()
        (tree / ("n" * 120) / ("long-" * 20)).write_bytes(b"x")
        formats = {"gnu": "gnu", "pax": "pax", "ustar": "ustar", "v7": "v7"}
        for name, kind in formats.items():
            what = ["scripts", "appspec.yml", "current", "twin"] + (["n" * 120] if kind in ("gnu", "pax") else [])
            pax = ["--pax-option=delete=atime,delete=ctime"] if kind == "pax" else []
            archive = run("tar", f"--format={kind}", *pax, "--sort=name", "--owner=0", "--group=0", "-b1", "-cf", "-", *what, cwd=tree)
            put("unpack_tar", name, archive)
            put("unpack_tgz", name, run("gzip", "-9n", cwd=tree, stdin=archive))
            put("unpack_tar_zst", name, run("zstd", "-19q", "--check", cwd=tree, stdin=archive))
        put("unpack_tar_zst", "fast", run("zstd", "-1q", cwd=tree, stdin=archive))
        whole = run("gzip", "-1n", cwd=tree, stdin=archive[:1024]) + run("gzip", "-9n", cwd=tree, stdin=archive[1024:])
        put("unpack_tgz", "two-members", whole)
        zipped = pathlib.Path(temp) / "made.zip"
        run("zip", "-qry", str(zipped), "scripts", "appspec.yml", "current", "twin", cwd=tree)
        put("unpack_zip", "tool", zipped.read_bytes())
        streamed = run("zip", "-qr", "-", "scripts/stop.sh", "appspec.yml", cwd=tree)
        put("unpack_zip", "streamed", streamed)
    put("unpack_tar", "hostile", hostile_tar())
    put("unpack_tar", "odd-owners", odd_tar())
    put("unpack_tar", "limits", limits_tar())
    put("unpack_tgz", "limits", run("gzip", "-9n", cwd=HERE, stdin=limits_tar()))
    put("unpack_tar_zst", "limits", run("zstd", "-19q", cwd=HERE, stdin=limits_tar()))
    put("unpack_zip", "hostile", hostile_zip())
    put("unpack_zip", "foreign", foreign_zip())


def entry(tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **more: object) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(content), 0o644
    for key, value in more.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


def hostile_tar() -> bytes:
    """What a bundle should not do, at the end so that the rest is reached while the fuzzer drops entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        entry(tar, "dir", tarfile.DIRTYPE, mode=0o1777)
        entry(tar, "way", tarfile.SYMTYPE, linkname="../outside")
        entry(tar, "root", tarfile.SYMTYPE, linkname="/")
        entry(tar, "dir/suid", content=b"x", mode=0o6777, uid=1000, gid=1000)
        entry(tar, "hard", tarfile.LNKTYPE, linkname="dir/suid")
        entry(tar, "over", tarfile.LNKTYPE, linkname="way/secret")
        entry(tar, "way/secret", content=b"theirs")
        entry(tar, "../outside/secret", content=b"theirs")
        entry(tar, "/tmp/absolute", content=b"theirs")
        entry(tar, "null", tarfile.CHRTYPE, devmajor=1, devminor=3)
        entry(tar, "pipe", tarfile.FIFOTYPE)
    return out.getvalue()


def odd_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry(tar, "a/b/c", content=b"deep", mtime=1700000000.25, uid=3000000, gid=1)
        entry(tar, "a", tarfile.DIRTYPE, mode=0o000)
        entry(tar, "caf\u00e9", content=b"x", mtime=-1.5)
        entry(tar, "old/", content=b"")
        entry(tar, "comment", content=b"", pax_headers={"comment": "x", "SCHILY.xattr.user.x": "y"})
    return out.getvalue()


def limits_tar() -> bytes:
    """A little too much of everything that is bounded."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(18):
            entry(tar, f"{number}", tarfile.DIRTYPE)
        entry(tar, "a/b/c/d/e", content=b"deep")
        entry(tar, "half", content=b"x" * 2500)
        entry(tar, "other-half", content=b"x" * 2500)
        entry(tar, "a/b/c/d/f/g/h", content=b"deeper")
    return out.getvalue()


def hostile_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, mode, content in [("dir/", 0o41777, b""), ("way", 0o120777, b"../outside"), ("suid", 0o106777, b"x"), ("way/secret", 0o100644, b"theirs"), ("../outside/secret", 0o100644, b"theirs"), ("/absolute", 0o100644, b""), ("pipe", 0o010644, b"")]:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            archive.writestr(info, content)
    return out.getvalue()


def foreign_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, length in [("x/y/", 0), ("caf\u00e9", 20), ("plain", 300), ("half", 300), ("a\\b", 20)]:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.compress_type = 0, zipfile.ZIP_DEFLATED
            archive.writestr(info, b"content " * length)
        archive.comment = b"made elsewhere"
    return out.getvalue()


def envelopes() -> None:
    """Only where they are missing: each has new keys, which are thrown away."""
    specification = (ROOT / "protocol/golden/specification.s3.json").read_bytes()
    GENUINE.mkdir(exist_ok=True)
    if not (GENUINE / "authority.pem").exists():
        (GENUINE / "specification.json").write_bytes(specification)
        with tempfile.TemporaryDirectory() as temp:
            here = pathlib.Path(temp)
            (here / "content").write_bytes(specification)
            (here / "extensions").write_text("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n")
            openssl = lambda line: run("openssl", *line.split(), cwd=here)
            years = "-days 36500 -nodes"
            openssl(f"req -x509 -newkey rsa:2048 {years} -keyout rsa.key -out rsa.pem -subj /CN=rsa")
            openssl(f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 {years} -keyout ec.key -out ec.pem -subj /CN=ec")
            openssl(f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 {years} -keyout ca.key -out ca.pem -subj /CN=authority")
            openssl("req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf")
            openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 -extfile extensions -out leaf.pem")
            sign = "-sign -nodetach -binary -in content -outform PEM -md sha256"
            openssl(f"smime {sign} -noattr -signer rsa.pem -inkey rsa.key -out {GENUINE}/rsa-plain.pem")
            openssl(f"cms {sign} -signer ec.pem -inkey ec.key -out {GENUINE}/ecdsa-attributes.pem")
            openssl(f"smime {sign} -signer leaf.pem -inkey leaf.key -out {GENUINE}/rsa-issued.pem")
            shutil.copy(here / "ca.pem", GENUINE / "authority.pem")
    for number, path in enumerate(sorted(GENUINE.glob("*-*.pem"))):
        put("envelope", f"text-{path.stem}", b"T" + path.read_bytes())
    for which in range(3):
        for kind in (b"E", b"P"):
            put("envelope", f"{kind.decode()}{which}", kind + bytes([which, 40, 1, 0, 2, 1]))
    for path in sorted((ROOT / "protocol/golden").glob("specification.*.json")):
        put("envelope", path.stem, path.read_bytes())


def journals() -> None:
    genuine = (GENUINE / "journal").read_bytes()
    put("journal", "genuine", genuine[:4096])
    put("journal", "torn", genuine[:700])
    put("journal", "flipped", b"E" + bytes([40, 1, 0, 2, 1]))
    put("journal", "cut", b"E" + bytes([0, 3, 0, 0, 0]))
    put("journal", "zeros", b"E" + bytes([0, 1, 0, 1, 200, 9, 2, 0, 2, 128]))
    step = lambda path, change, was, want, known: bytes([0, path, change, was, want, known])
    replaced = step(0, 1, 1, 1, 7) + step(2, 1, 2, 2, 3) + step(7, 0, 0, 2, 0) + bytes([2, 0])
    staged = bytes([3, 0, 14, 1, 3, 1, 8, 9, 3, 2, 0, 2])
    put("settle", "planned", bytes([0x3F]) + replaced)
    for name, end in {"prepared": [4], "committed": [4, 5], "rolled-back": [4, 6], "done": [4, 5, 7]}.items():
        for bits in (0x00, 0x3F, 0x7F):
            put("settle", f"{name}-{bits:02x}", bytes([bits]) + replaced + staged + bytes(end))
    # Paths that lead out of the target, with the inode of what is there: as created, replaced and removed.
    for path in (9, 10, 11, 12):
        for change in range(3):
            for inode in (4, 11):
                end = bytes([2, 0, 3, 0, inode, inode, 4])
                put("settle", f"out-{path}-{change}-{inode}", bytes([change]) + step(path, change, 1, 1, inode) + end)


def digests() -> None:
    """Lists of digests: the target makes lengths and checksums."""
    records = []
    for number, path in enumerate((b"/srv/app/a", b"/srv/app/b/odd \xff\n name"), 1):
        times = struct.pack("<qIqI", 1700000000, 0, 1700000000 + number, 123456789)
        records.append(struct.pack("<I", len(path)) + path + bytes([number]) * 32 + struct.pack("<QQ", 4711, 12) + times)

    def parts(*all_records: bytes) -> bytes:
        return b"".join(struct.pack("<H", len(part)) + part for part in all_records)

    first, second = records
    put("digests", "list", b"Cslipway digests 2\n" + parts(first + second))
    put("digests", "appended", b"Cslipway digests 2\n" + parts(first + second, first, b"", second))
    put("digests", "torn", b"Cslipway digests 2\n" + parts(first + second, second[:-1]))
    put("digests", "older", b"Cslipway digests 1\n" + parts(first + second))
    put("digests", "empty", b"Cslipway digests 2\n")


if __name__ == "__main__":
    for part in (appspecs, digests, configurations, dictionaries, archives, envelopes, journals):
        part()
