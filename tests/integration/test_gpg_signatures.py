"""GPG signatures that policy.json asks for, with skopeo as maker and judge."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.faulty import Faulty, Rule, answer
from tests.support.pulling import faulty, registry, small
from tests.support.signing import payload_for
from tests.support.trusting import Place, place

__all__ = ["faulty", "place", "registry"]


@pytest.fixture(scope="module")
def gpg_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A GNUPGHOME with two secret keys, and their public halves in files beside it: one.gpg, two.asc."""
    need("gpg", "skopeo")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)

    def gpg(*args: str) -> bytes:
        return subprocess.run(
            ["gpg", "--homedir", str(home), "--batch", "--quiet", *args], check=True, capture_output=True
        ).stdout

    for name in ("one", "two"):
        gpg("--passphrase", "", "--quick-generate-key", f"{name}@example.com", "rsa2048", "sign", "never")
    (home / "one.gpg").write_bytes(gpg("--export", "one@example.com"))
    (home / "two.asc").write_bytes(gpg("--armor", "--export", "two@example.com"))
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def test_gpg_signatures_of_skopeo_are_judged_as_it_judges_them(place: Place, gpg_keys: Path) -> None:
    source = place.registry.push("gpg/source", small(2011, layers=1), "1")
    place.configure({"type": "insecureAcceptAnything"})
    name = f"{place.registry.host}/gpg/app:1"
    bare = small(2012, layers=1)
    unsigned = place.registry.push("gpg/unsigned", bare, "1")
    copied = place.skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--sign-by=one@example.com",
        f"docker://{source}",
        f"docker://{name}",
        GNUPGHOME=str(gpg_keys),
    )
    assert copied.returncode == 0, copied.stderr
    one = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gpg_keys / "one.gpg")}
    two = one | {"keyPath": str(gpg_keys / "two.asc")}
    place.configure(one)
    assert place.verdicts(name) == (True, True)
    assert place.verdicts(unsigned) == (False, False)
    said = place.ours(unsigned)
    assert "wants a signature (signedBy), and there is none" in said
    assert f"looked for below file://{place.lookaside}" in said
    assert "one@example.com" in place.fresh.out("image", "trust", "show", name)
    place.configure(two)
    assert place.theirs(name)
    assert "a key that the policy does not name" in place.ours(name)
    place.configure(one, two)
    assert place.verdicts(name) == (False, False)
    place.configure({**one, "signedIdentity": {"type": "exactRepository", "dockerRepository": "quay.io/x"}})
    assert place.verdicts(name) == (False, False)
    # a signature of another image, put in its place
    found = next(place.lookaside.glob("gpg/app@*/signature-1"))
    stolen = place.lookaside / f"gpg/unsigned@{bare.manifest.digest.replace(':', '=')}"
    stolen.mkdir(parents=True)
    shutil.copy(found, stolen / "signature-1")
    place.configure({**one, "signedIdentity": {"type": "exactRepository", "dockerRepository": name.rpartition(":")[0]}})
    assert place.verdicts(unsigned) == (False, False)
    found.write_bytes(found.read_bytes()[:-20] + bytes(20))
    assert place.verdicts(name) == (False, False)


def test_a_lookaside_may_be_a_web_server(place: Place, gpg_keys: Path, tmp_path: Path) -> None:
    image = small(2013, layers=1)
    name = place.registry.push("gpg/web", image, "1")
    payload = json.loads(payload_for(image.manifest.digest, name, type="atomic container signature"))
    payload["optional"] = {}
    signature = subprocess.run(
        ["gpg", "--homedir", str(gpg_keys), "--batch", "-u", "one@example.com", "--sign"],
        input=json.dumps(payload).encode(),
        capture_output=True,
        check=True,
    ).stdout
    web = Faulty("http://127.0.0.1:1")
    web.rule(f"/s/gpg/web@{image.manifest.digest.replace(':', '=')}/signature-1$", answer(200, signature), times=-1)
    web.rule("signature", answer(404, b"no"), times=-1)
    place.configure({"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gpg_keys / "one.gpg")})
    conf = {"default-docker": {"lookaside": f"http://{web.host}/s"}}
    (place.containers / "registries.d/all.yaml").write_text(json.dumps(conf))
    assert place.verdicts(name) == (True, True)
    web.rules.insert(0, Rule("signature-1", answer(500, b"down"), -1))
    assert "HTTP status 500" in place.ours(name)
    web.stop()


def gpg_signed(home: Path, content: bytes, *options: str) -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "-u", "one@example.com", *options]
    action = [] if "--store" in options else ["--sign"]
    return subprocess.run([*command, *action], input=content, capture_output=True, check=True).stdout


def test_what_claims_to_be_a_gpg_signature_and_is_none(place: Place, gpg_keys: Path) -> None:
    """Bombs, other kinds of OpenPGP messages, two signatures in one, junk."""
    image = small(2040, layers=1)
    name = place.registry.push("gpg/odd", image, "1")
    payload = json.loads(payload_for(image.manifest.digest, name, type="atomic container signature"))
    good = json.dumps(payload | {"optional": {}}).encode()
    place.configure({"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gpg_keys / "one.gpg")})
    there = place.lookaside / f"gpg/odd@{image.manifest.digest.replace(':', '=')}"
    there.mkdir(parents=True)
    detached = subprocess.run(
        ["gpg", "--homedir", str(gpg_keys), "--batch", "-u", "one@example.com", "--detach-sign"],
        input=good,
        capture_output=True,
        check=True,
    ).stdout
    bad = {
        "bomb": gpg_signed(gpg_keys, good + b" " * (200 << 20), "--compress-level", "9"),
        "detached": detached,
        "two keys": gpg_signed(gpg_keys, good, "-u", "two@example.com"),
        "unsigned before signed": gpg_signed(gpg_keys, good, "--store") + gpg_signed(gpg_keys, b"other"),
        "not signed": gpg_signed(gpg_keys, good, "--store"),
        "junk": b"\x00" * 1000,
        "empty": b"",
        "the keys": (gpg_keys / "one.gpg").read_bytes(),
        "huge": b"\x90" * (5 << 20),
    }
    assert len(bad["bomb"]) < 1 << 20
    for what, signature in bad.items():
        (there / "signature-1").write_bytes(signature)
        said = place.ours(name)
        assert said, what
    (there / "signature-1").write_bytes(gpg_signed(gpg_keys, good))
    assert place.verdicts(name) == (True, True)
