"""Where a call goes: factory, model, base URL, dialect, signer, quirks and credential, resolved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from core.errors import AppError
from providers.base_urls import join_url
from providers.errors import WrongURL
from providers.quirks import Quirks
from providers.wire import Operation

if TYPE_CHECKING:
    from core.secrets import OpenSecret


MAX_MEMO = 64


@dataclass(frozen=True, slots=True)
class CredentialFields:
    """What a credential holds: its plain fields, and its secret, which shows itself only to its own origin.

    Where a factory has several secret fields, the secret is a JSON object of them. `owner` is the tenant's id;
    `installation` holds the installation's own keys, with which it acts for that tenant where it is trusted to.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    secret: OpenSecret | None = None
    owner: str = ""
    installation: OpenSecret | None = None

    def reveal(self, *, origin: str, name: str = "") -> str:
        """The secret, or its part `name`, for a request to `origin`; "" if there is none."""
        if self.secret is None:
            return ""
        text = self.secret.reveal(origin=origin)
        if name and text.startswith("{"):
            try:
                packed = json.loads(text)
            except ValueError:
                return text
            if isinstance(packed, dict) and name in packed:
                return str(packed[name] or "")
        return text

    def settings(self, *, origin: str) -> dict[str, str]:
        """The members of a secret that is an object, for a request to `origin`; raises WrongURL if it is another's."""
        try:
            members = json.loads(self.secret.reveal(origin=origin)) if self.secret is not None else {}
        except AppError as error:
            raise WrongURL(error.message, hint=error.hint, step="build") from None
        except (ValueError, RecursionError):
            return {}
        if not isinstance(members, dict):
            return {}
        return {name: value for name, value in members.items() if isinstance(value, str)}

    def __repr__(self) -> str:
        return f"<CredentialFields {sorted(self.fields)} {'with' if self.secret is not None else 'without'} a secret>"


@dataclass(frozen=True, slots=True)
class Target:
    """`model` is our name of the model. `quirks` come to be those of this model and credential.

    `own_base_url`: the tenant gave the base URL, so the factory's bases for single operations do not count.
    """

    factory: str
    model: str
    base_url: str
    dialect: str = "openai"
    signer: str = "bearer"
    quirks: Quirks = field(default_factory=Quirks)
    credential: CredentialFields = field(default_factory=CredentialFields)
    own_base_url: bool = False
    memo: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What need not be worked out anew for each call. It may hold secrets, so a changed copy begins with none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "quirks", self.quirks.resolved(self.model, self.credential.fields))

    @property
    def upstream_model(self) -> str:
        """What the upstream calls the model."""
        return self.quirks.model_name(self.model, self.credential.fields)

    @property
    def token_url(self) -> str:
        """Where the factory's row says that tokens for its calls are had; "" if nowhere."""
        return self.quirks.token_url_for(self.credential.fields)

    def url_for(self, operation: Operation, default_path: str) -> str:
        """The URL of an operation; raises WrongURL if the base URL is unusable."""
        known = self.memo.get((operation, default_path))
        if known is None:
            known = self._url_for(operation, default_path)
            if len(self.memo) < MAX_MEMO:  # paths may hold the id of a job
                self.memo[operation, default_path] = known
        return str(known)

    def _url_for(self, operation: Operation, default_path: str) -> str:
        base = self.base_url
        if not self.own_base_url:
            base = self.quirks.base_url_for(operation, self.credential.fields) or base
        path, version_path = self.quirks.path_for(operation, default_path), self.quirks.version_path
        asked = [(name, self.credential.fields.get(field, "")) for name, field in self.quirks.query.items()]
        if (dated := self.quirks.dated) is not None:
            base = dated.root(base)
            if version := dated.version(self.credential.fields):
                version_path = dated.path_for(operation, self.upstream_model)
                asked.append((dated.parameter, version))
        query = urlencode([pair for pair in asked if pair[1]])
        try:
            url = join_url(base, version_path, path, endpoints=self.quirks.paths.values())
            return f"{url}?{query}" if query else url
        except ValueError as error:
            reason = str(error)
            raise WrongURL(f"{reason[:1].upper()}{reason[1:]}.", step="build") from None
