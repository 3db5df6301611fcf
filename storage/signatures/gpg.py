"""OpenPGP signatures, checked by gpg with a keyring of its own for the moment: the user's keys count for nothing."""

from __future__ import annotations

import os
import subprocess
import tempfile

from rootless.errors import RootlessError

_SECONDS = 60
_MOST_CONTENT = 1 << 20  # bytes: a compressed message may claim to be gigabytes
_FAILED = ("BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA", "FAILURE", "ERROR")


class Keyring:
    """The public keys that a policy trusts. A context manager: its directory goes at the end."""

    def __init__(self, keys: list[bytes], what: str) -> None:
        """`keys`: exported public keys, armoured or not; `what` is being done. Raises RootlessError without gpg, or
        where there is no key in them."""
        self._what = what
        self._directory = tempfile.TemporaryDirectory(prefix="rootless-gpg-")
        self.trusted: set[str] = set()
        try:
            for key in keys:
                status, _, _ = self._gpg(["--import"], key)
                imported = {line[3] for line in status if line[:2] == ["[GNUPG:]", "IMPORT_OK"] and len(line) > 3}
                if not imported:
                    raise RootlessError(f"{what}: there is no public key in one of the policy's files")
                self.trusted |= imported
        except BaseException:
            self._directory.cleanup()
            raise

    def __enter__(self) -> Keyring:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    def signed_content(self, signature: bytes) -> bytes:
        """What a signed message says. Raises ValueError unless exactly one of the keys has signed it, validly."""
        status, content, code = self._gpg(["--decrypt"], signature)
        words = [line[1] for line in status if line[0] == "[GNUPG:]" and len(line) > 1]
        valid = [line for line in status if line[:2] == ["[GNUPG:]", "VALIDSIG"]]
        if "NO_PUBKEY" in words:
            raise ValueError("it was made with a key that the policy does not name")
        failed = next((word for word in words if word in _FAILED), None)
        if failed or code or words.count("NEWSIG") != 1 or len(valid) != 1 or "GOODSIG" not in words:
            raise ValueError(f"gpg does not find it valid ({failed or 'no good signature'})")
        # fields of VALIDSIG: fingerprint of the signing key first, of its primary key last
        if not {valid[0][2], valid[0][-1]} & self.trusted:
            raise ValueError("it was made with a key that the policy does not name")
        if any(word in ("DECRYPTION_OKAY", "BEGIN_DECRYPTION") for word in words):
            raise ValueError("it is encrypted")
        return content

    def _gpg(self, action: list[str], data: bytes) -> tuple[list[list[str]], bytes, int]:
        """Status lines, in words, standard output, exit code."""
        reader, writer = os.pipe()
        command = ["gpg", "--homedir", self._directory.name, "--batch", "--no-tty", "--quiet", "--no-options"]
        command += [
            "--max-output",
            str(_MOST_CONTENT),
            "--no-autostart",
            "--trust-model",
            "always",
            "--no-auto-key-retrieve",
            "--status-fd",
            str(writer),
        ]
        try:
            with os.fdopen(reader, "rb") as status, tempfile.TemporaryFile() as given:
                given.write(data)
                given.seek(0)
                try:
                    process = subprocess.Popen(
                        [*command, *action],
                        stdin=given,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        pass_fds=(writer,),
                        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                    )
                finally:
                    os.close(writer)
                try:
                    content, _ = process.communicate(timeout=_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    raise RootlessError(f"{self._what}: gpg has not ended within {_SECONDS} s") from None
                lines = [line.split() for line in status.read().decode("utf-8", "replace").splitlines()]
        except FileNotFoundError:
            raise RootlessError(f"{self._what}: gpg is not installed", "apt-get install gpg") from None
        return [line for line in lines if line], content, process.returncode


def owners(key: bytes) -> list[str]:
    """The user ids of the public keys in `key`, as gpg prints them; none where there is none. Raises RootlessError."""
    with tempfile.TemporaryDirectory(prefix="rootless-gpg-") as home:
        command = ["gpg", "--homedir", home, "--batch", "--no-tty", "--quiet", "--no-autostart", "--with-colons"]
        try:
            done = subprocess.run(
                [*command, "--show-keys"],
                input=key,
                capture_output=True,
                timeout=_SECONDS,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            raise RootlessError("asking gpg whose a key is: it does not answer", "apt-get install gpg") from None
    lines = [line.split(":") for line in done.stdout.decode("utf-8", "replace").splitlines()]
    return [line[9] for line in lines if line[0] == "uid" and len(line) > 9]
