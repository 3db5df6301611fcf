"""Logging in to registries, and trusting them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.conftest import need
from tests.support.command import Rootless
from tests.support.faulty import Faulty, answer
from tests.support.layers import PackedImage, make_image, tar_of
from tests.support.pulling import Write, configure
from tests.support.registry import PASSWORD, USER, Registry, basic, start_registry
from tests.support.tokens import TokenService

__all__ = ["configure"]

OPEN = "--tls-verify=false"


@pytest.fixture(scope="module")
def image() -> PackedImage:
    return make_image([tar_of({"etc/motd": b"hello\n"})])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, image: PackedImage) -> Iterator[Registry]:
    """A registry that wants a password."""
    need("docker-registry")
    found = start_registry(tmp_path_factory.mktemp("guarded"), passwords=True)
    found.push("team/app", image)
    yield found
    found.stop()


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenService]:
    service = TokenService(tmp_path / "tokens", anonymous=("public/app",))
    yield service
    service.stop()


@pytest.fixture
def by_token(tmp_path: Path, tokens: TokenService, image: PackedImage) -> Iterator[Registry]:
    """A registry that sends everybody to `tokens`."""
    need("docker-registry")
    found = start_registry(tmp_path / "registry", token=tokens.configuration)
    for repository in ("public/app", "team/app"):
        found.headers = {"Authorization": "Bearer " + tokens.sign(repository, ["pull", "push"])}
        found.push(repository, image)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_registry(
    place: Path, authority: trustme.CA, certificate: trustme.LeafCert, passwords: bool = False
) -> Registry:
    place.mkdir()
    certificate.private_key_pem.write_to_path(str(place / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(place / "cert.pem"), append=True)
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    return start_registry(
        place, tls=(place / "cert.pem", place / "key.pem", str(place / "ca.pem")), passwords=passwords
    )


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA, image: PackedImage
) -> Iterator[Registry]:
    """A registry with https, whose authority nobody knows yet."""
    need("docker-registry")
    found = tls_registry(tmp_path_factory.mktemp("tls") / "r", authority, authority.issue_cert("localhost"))
    found.push("team/app", image)
    yield found
    found.stop()


def auth_file(command: Rootless, content: object, path: str = "xdg/containers/auth.json") -> Path:
    file = command.place / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def entry(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_password_is_taken_from_creds(fresh: Rootless, guarded: Registry, image: PackedImage) -> None:
    name = f"{guarded.host}/team/app"
    assert fresh.out("pull", "-q", OPEN, "--creds", f"{USER}:{PASSWORD}", name) == image.id


@pytest.mark.parametrize(
    "path", ["xdg/containers/auth.json", "home/.config/containers/auth.json", "home/.docker/config.json"]
)
def test_a_password_is_taken_from_the_files(fresh: Rootless, guarded: Registry, image: PackedImage, path: str) -> None:
    auth_file(fresh, {"auths": {f"{guarded.host}/team": entry()}}, path)
    assert fresh.out("pull", "-q", OPEN, f"{guarded.host}/team/app") == image.id


def test_a_password_is_taken_from_a_named_file(fresh: Rootless, guarded: Registry, image: PackedImage) -> None:
    file = auth_file(fresh, {"auths": {guarded.host: entry()}}, "mine.json")
    assert fresh.out("pull", "-q", OPEN, "--authfile", str(file), f"{guarded.host}/team/app") == image.id


def test_without_a_password_the_error_says_how_to_give_one(fresh: Rootless, guarded: Registry) -> None:
    failed = fresh("pull", OPEN, f"{guarded.host}/team/app", check=False)
    assert failed.returncode == 125
    assert "access denied, and there are no credentials" in failed.stderr
    assert "--creds USER:PASSWORD" in failed.stderr


def test_a_wrong_password_is_told_with_its_source_and_never_shown(fresh: Rootless, guarded: Registry) -> None:
    auth_file(fresh, {"auths": {guarded.host: entry(password="hunter2")}})
    failed = fresh("--log-level", "debug", "pull", OPEN, f"{guarded.host}/team/app", check=False)
    assert failed.returncode == 125
    assert f"access denied with the credentials of {USER}" in failed.stderr
    assert "xdg/containers/auth.json" in failed.stderr
    assert "hunter2" not in failed.stderr


def test_an_anonymous_token_is_fetched_once_for_the_whole_pull(
    fresh: Rootless, by_token: Registry, tokens: TokenService, image: PackedImage
) -> None:
    tokens.requests.clear()
    assert fresh.out("pull", "-q", OPEN, f"{by_token.host}/public/app") == image.id
    assert tokens.requests == [("service=test-registry&scope=repository%3Apublic%2Fapp%3Apull", None)]


def test_a_token_is_asked_for_with_the_password(
    fresh: Rootless, by_token: Registry, tokens: TokenService, image: PackedImage
) -> None:
    tokens.requests.clear()
    name = f"{by_token.host}/team/app"
    assert fresh.out("pull", "-q", OPEN, "--creds", f"{USER}:{PASSWORD}", name) == image.id
    assert [authorization for _, authorization in tokens.requests] == [basic()]


def test_an_identity_token_takes_the_place_of_the_password(
    fresh: Rootless, by_token: Registry, tokens: TokenService, image: PackedImage
) -> None:
    auth_file(fresh, {"auths": {by_token.host: {"identitytoken": "identity"}}})
    assert fresh.out("pull", "-q", OPEN, f"{by_token.host}/team/app") == image.id
    assert "grant_type=refresh_token" in tokens.requests[-1][0]


def test_a_token_that_is_refused_is_told_as_such(fresh: Rootless, by_token: Registry) -> None:
    failed = fresh("pull", OPEN, f"{by_token.host}/team/app", check=False)
    assert failed.returncode == 125
    assert "for a token for " + by_token.host in failed.stderr
    assert "access denied" in failed.stderr


def test_a_token_that_expires_in_mid_pull_is_replaced(
    fresh: Rootless, by_token: Registry, tokens: TokenService, image: PackedImage
) -> None:
    proxy = Faulty(by_token.base)
    challenge = f'Bearer realm="{tokens.realm}",service="test-registry",scope="repository:public/app:pull"'
    proxy.rule(image.layers[0].digest, answer(401, b"{}", www_authenticate=challenge + ',error="invalid_token"'))
    tokens.requests.clear()
    assert fresh.out("pull", "-q", OPEN, f"{proxy.host}/public/app") == image.id
    assert len(tokens.requests) == 2
    proxy.stop()


@pytest.mark.parametrize("lie", [b"", b"<html>", b"{}", b'{"token": 3}', b'{"token": "a\\r\\nb"}', b"[]"])
def test_a_token_service_that_lies_is_named(
    fresh: Rootless, by_token: Registry, tokens: TokenService, lie: bytes
) -> None:
    tokens.lie = lie
    failed = fresh("pull", OPEN, f"{by_token.host}/public/app", check=False)
    assert failed.returncode == 125
    assert f"asking {tokens.realm[7:-6]} for a token" in failed.stderr
    assert "internal error" not in failed.stderr


def test_a_useless_token_ends_in_an_error_not_in_a_loop(
    fresh: Rootless, by_token: Registry, tokens: TokenService
) -> None:
    tokens.lie = b'{"token": "worthless"}'
    failed = fresh("pull", OPEN, f"{by_token.host}/public/app", check=False)
    assert failed.returncode == 125
    assert len(tokens.requests) <= 3


def test_an_unknown_authority_is_refused_and_the_hint_leads_to_certs_d(
    fresh: Rootless, encrypted: Registry, authority: trustme.CA, image: PackedImage
) -> None:
    name = f"{encrypted.host}/team/app"
    failed = fresh("pull", name, check=False)
    assert failed.returncode == 125
    assert "certificate is not trusted" in failed.stderr
    path = next(word for word in failed.stderr.split() if "certs.d" in word).rstrip(",")
    Path(path).parent.mkdir(parents=True)
    authority.cert_pem.write_to_path(path)
    assert fresh.out("pull", "-q", name) == image.id


def test_an_authority_may_come_from_the_environment(fresh: Rootless, encrypted: Registry, image: PackedImage) -> None:
    assert encrypted.ca
    done = fresh("pull", "-q", f"{encrypted.host}/team/app", env={"SSL_CERT_FILE": encrypted.ca})
    assert done.stdout.strip() == image.id


def test_insecure_means_https_without_verification_first(
    fresh: Rootless, encrypted: Registry, image: PackedImage
) -> None:
    assert fresh.out("pull", "-q", OPEN, f"{encrypted.host}/team/app") == image.id


@pytest.mark.parametrize("case", ["other name", "expired", "self-signed"])
def test_a_wrong_certificate_is_refused(
    fresh: Rootless, tmp_path: Path, authority: trustme.CA, image: PackedImage, case: str
) -> None:
    from datetime import UTC, datetime

    certificate = authority.issue_cert(
        "registry.example" if case == "other name" else "localhost",
        not_after=datetime(2001, 1, 1, tzinfo=UTC) if case == "expired" else None,
        not_before=datetime(2000, 1, 1, tzinfo=UTC) if case == "expired" else None,
    )
    found = tls_registry(tmp_path / "r", trustme.CA() if case == "self-signed" else authority, certificate)
    try:
        failed = fresh("pull", f"{found.host}/team/app", env={"SSL_CERT_FILE": str(found.ca)}, check=False)
        assert failed.returncode == 125
        why = {"other name": "Hostname mismatch", "expired": "expired", "self-signed": "unable to get"}[case]
        assert "certificate is not trusted: " in failed.stderr
        assert why in failed.stderr
    finally:
        found.stop()


def test_a_damaged_certificate_in_certs_d_is_named(fresh: Rootless, encrypted: Registry) -> None:
    path = fresh.place / "home/.config/containers/certs.d" / encrypted.host / "ca.crt"
    path.parent.mkdir(parents=True)
    path.write_text("nonsense")
    failed = fresh("pull", f"{encrypted.host}/team/app", check=False)
    assert failed.returncode == 125
    assert f"reading {path}" in failed.stderr


def test_blocked_registries_are_not_asked(fresh: Rootless, guarded: Registry, configure: Write) -> None:
    configure(f'[[registry]]\nlocation = "{guarded.host}"\nblocked = true')
    failed = fresh("pull", f"{guarded.host}/team/app", check=False)
    assert failed.returncode == 125
    assert "is blocked" in failed.stderr
    assert "registries.conf says so" in failed.stderr


@pytest.mark.parametrize("verb", ["run", "create"])
def test_run_and_create_take_the_options_of_a_pull(
    fresh: Rootless, guarded: Registry, image: PackedImage, verb: str
) -> None:
    name = f"{guarded.host}/team/app"
    file = auth_file(fresh, {"auths": {guarded.host: entry()}}, "mine.json")
    options = ("--network", "none", "--name", "c", "--authfile", str(file), "--retry", "0")
    refused = fresh(verb, *options, name, "/etc/motd", check=False)
    assert refused.returncode == 125
    assert "--tls-verify=false" in refused.stderr
    done = fresh(verb, *options, OPEN, name, "/etc/motd", check=False)
    assert done.returncode == (126 if verb == "run" else 0), done.stderr
    found = fresh.inspect("c")
    assert found["Image"] == image.id
    assert fresh(verb, "--retry-delay", "soon", name, "x", check=False).returncode == 125


def test_run_takes_the_image_for_the_architecture_that_is_asked_for(
    fresh: Rootless, guarded: Registry, image: PackedImage
) -> None:
    name = f"{guarded.host}/team/app"
    fresh("pull", "-q", OPEN, "--creds", f"{USER}:{PASSWORD}", name)
    here = ("create", "--network", "none", "--pull", "never", "--os", "linux")
    fresh(*here, name, "x")
    other = fresh(*here, "--arch", "s390x", name, "x", check=False)
    assert other.returncode == 125
    assert "what is here is not for linux/s390x" in other.stderr
    both = fresh("create", "--platform", "linux/amd64", "--arch", "amd64", name, "x", check=False)
    assert both.returncode == 125
    assert "--platform cannot be given together" in both.stderr
