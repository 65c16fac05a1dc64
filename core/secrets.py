"""Secrets at rest: sealed for one owner, opened only there, and told only to the place they were given for.

    text ── seal(owner, origin) ──▶ SealedSecret ── unseal(owner) ──▶ OpenSecret ── reveal(origin) ──▶ text
               (what a row holds)                    (masked)             (what a signer sends)

What is encrypted is an envelope: owner (tenant, row, purpose), origin (scheme, host, port) and the text. A ciphertext
that was copied to another row, or that is about to be sent to another host, is refused. An envelope may list further
origins of the same vendor; they are fixed when it is sealed, so whoever changes a row later cannot add one. The cipher
is the Fernet of django-encrypted-model-fields; `FIELD_ENCRYPTION_KEY` may list several keys, the first encrypts and all
decrypt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from core.errors import AppError

VERSION = 1  # of the envelope


class SecretError(AppError):
    """A secret could not be used. Never says anything about its text."""

    default_code = "secret_error"


class SecretUnreadable(SecretError):
    """No configured key decrypts it: the key is missing, or the row was damaged."""

    default_code = "secret_unreadable"


class SecretMisplaced(SecretError):
    """It decrypts, but was sealed for another row."""

    default_code = "secret_misplaced"


class SecretMisdirected(SecretError):
    """It was about to be sent to another origin than the one it was given for."""

    default_code = "secret_misdirected"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose secret it is: the tenant's id, the row's id, and what it is for ("credential", …)."""

    tenant: str
    row: str
    purpose: str


class SealedSecret:
    """A ciphertext: safe to store, to copy and to log, and useless outside its row."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return "<SealedSecret>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedSecret) and other.token == self.token

    def __hash__(self) -> int:
        return hash(self.token)


class OpenSecret:
    """A decrypted secret that shows itself to nobody but the origin it belongs to, and those it was sealed for too."""

    __slots__ = ("__text", "also", "origin")

    def __init__(self, text: str, origin: str, also: Iterable[str] = ()) -> None:
        self.__text = text
        self.origin = origin
        self.also = frozenset(also) if origin else frozenset()

    def reveal(self, *, origin: str) -> str:
        """The text, for a request to `origin`; raises SecretMisdirected for any other than its own."""
        if not self.origin or (origin != self.origin and origin not in self.also):
            raise SecretMisdirected(
                f"This key was given for {self.origin or 'no address'} and is not sent to {origin}.",
                hint="Enter the key again together with the new base URL.",
            )
        return self.__text

    def __repr__(self) -> str:
        return f"<OpenSecret for {self.origin}>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("An open secret cannot be pickled: pass the row's id instead.")


def encryption_keys() -> list[str]:
    """The configured keys, primary first. Read anew each time, so that a test or a rotation may change them."""
    configured = settings.FIELD_ENCRYPTION_KEY
    keys = [configured] if isinstance(configured, str | bytes) else configured
    return [key.decode() if isinstance(key, bytes) else str(key) for key in keys]


def ciphers() -> list[Fernet]:
    """The configured keys as ciphers, in the same order."""
    return [Fernet(key) for key in encryption_keys()]


@sensitive_variables()
def seal(text: str, *, owner: Owner, origin: str, also: Iterable[str] = ()) -> SealedSecret:
    """Encrypt `text` for one row and one origin (`origin_of(base_url)`), and `also` for further ones over HTTPS."""
    further = sorted({other for other in also if other.startswith("https://")} - {origin})
    envelope: dict[str, Any] = {
        "v": VERSION,
        "t": owner.tenant,
        "r": owner.row,
        "p": owner.purpose,
        "o": origin,
        "s": text,
    }
    if further:
        envelope["a"] = further
    token = ciphers()[0].encrypt(json.dumps(envelope, separators=(",", ":")).encode())
    return SealedSecret(token.decode())


@sensitive_variables()
def unseal(sealed: SealedSecret, *, owner: Owner) -> OpenSecret:
    """Decrypt for its owner; raises SecretUnreadable or SecretMisplaced."""
    try:
        envelope = json.loads(MultiFernet(ciphers()).decrypt(sealed.token.encode()))
        if envelope["v"] != VERSION:
            raise ValueError
        found = Owner(envelope["t"], envelope["r"], envelope["p"])
        text, origin, also = envelope["s"], envelope["o"], envelope.get("a", [])
        if not isinstance(also, list) or not all(isinstance(other, str) for other in also):
            raise ValueError
    except (InvalidToken, ValueError, KeyError, TypeError):
        raise SecretUnreadable(
            "The stored key cannot be decrypted.",
            hint="Start with the encryption key it was saved under (FIELD_ENCRYPTION_KEY), or enter the key again.",
        ) from None
    if found != owner:
        raise SecretMisplaced("The stored key belongs to another row.", hint="Enter the key again.")
    return OpenSecret(text, origin, also)


def is_current(sealed: SealedSecret) -> bool:
    """Whether the primary key sealed it, so that a rotation can pass over it."""
    try:
        ciphers()[0].decrypt(sealed.token.encode())
    except (InvalidToken, ValueError):
        return False
    return True


def rotate(sealed: SealedSecret) -> SealedSecret:
    """The same envelope under the primary key; raises SecretUnreadable."""
    try:
        return SealedSecret(MultiFernet(ciphers()).rotate(sealed.token.encode()).decode())
    except (InvalidToken, ValueError):
        raise SecretUnreadable("The stored key cannot be decrypted.") from None


def is_readable(sealed: SealedSecret) -> bool:
    """Whether one of the configured keys decrypts it, whoever it was sealed for."""
    try:
        MultiFernet(ciphers()).decrypt(sealed.token.encode())
    except (InvalidToken, ValueError):
        return False
    return True


def primary_key_id() -> str:
    """A name for the key that encrypts now, by which two processes see whether they agree on it."""
    return fingerprint(encryption_keys()[0])


def is_token(text: str) -> bool:
    """Whether `text` has the form of a ciphertext (version byte 0x80 in base64url)."""
    return text.startswith("gAAAA") and len(text) >= 100


def derive_key(purpose: str) -> bytes:
    """32 bytes for one purpose, from SECRET_KEY (HKDF-SHA256, RFC 5869): no key serves two."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"llmadmin/{purpose}".encode()).derive(
        settings.SECRET_KEY.encode()
    )


def fingerprint(text: str) -> str:
    """16 hexadecimal characters by which two equal secrets are recognised, and from which none can be guessed."""
    return hmac.new(derive_key("fingerprint"), _encoded(text), hashlib.sha256).hexdigest()[:16]


def _encoded(text: str) -> bytes:
    """UTF-8 that also takes half a surrogate pair: an encoding error would carry the text it failed on."""
    return text.encode("utf-8", "surrogatepass")


def last4(text: str) -> str:
    """The last four characters of a secret long enough for them to give nothing away, else an empty string.

    Of several secrets in a JSON object, those of the last one.
    """
    if text.startswith("{"):
        with suppress(ValueError, RecursionError):
            text = next((part for part in reversed(json.loads(text).values()) if isinstance(part, str)), "")
    return text[-4:] if len(text) >= 12 else ""
