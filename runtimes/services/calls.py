"""How a model of a service is called: where, in which wire format, with which key, and for how long.

Everything is read from the service's row, and from its driver where the row is silent. `options` of a row may say more:

    quirks   as of a factory, laid over the driver's: {"params": {…}}
    prices   USD per million tokens, by patterns of models' names, of which the longest that fits counts:
             {"*": {"input": "0", "output": "0"}, "big-*": {"input": "0.5", "output": "1.5", "cached_input": "0.1"}}
             A model that none fits is unpriced; nothing is free unless somebody says so.
    managers_may  what managers of tenants may do to its models beside what harms nobody else: ["install", …]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from core import env
from core.errors import InvalidInput
from core.netguard import parse_networks
from core.origins import origin_of
from core.secrets import OpenSecret, SecretError
from jobs.services.plain import storable
from providers import dialects
from providers.dialects.bodies import is_deep
from providers.llm_types import LLMType
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from providers.wire import Operation, operation_for
from runtimes import drivers
from runtimes.drivers.base import CAPABILITIES, VERBS, Driver
from runtimes.models import LLMService, ModelState, ServiceModel
from runtimes.services import key_variables

# Where the API begins in each wire format, below a base URL that names no version.
_VERSION_PATHS = {"openai": "/v1", "anthropic": "/v1"}
MANAGERS_MAY = "managers_may"  # the option of a service that says what tenants' managers may do to its models
MAX_OPTIONS_BYTES = 64 * 1024
_PRICES = ("input", "output", "cached_input")
_LARGEST_PRICE = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways to a model: through one of its service's URLs."""

    url: str
    targets: Mapping[Operation, Target]


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens; None is not known."""

    input: Decimal | None
    output: Decimal | None
    cached_input: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What calls of all models of a service share: worked out once, for keys are decrypted for it."""

    driver: Driver
    quirks: Quirks
    credentials: Mapping[str, CredentialFields]  # by URL, in the order of the URLs
    policy: Policy
    capabilities: Mapping[str, bool]


def reach(service: LLMService) -> Reach:
    """How a service is reached. Raises InvalidInput for a driver or options that make no sense, SecretError for a key
    that cannot be read."""
    driver = drivers.get(service.type)
    return Reach(
        driver,
        _quirks(service, driver),
        {url: CredentialFields(secret=key(service, url)) for url in urls(service, driver)},
        policy(service),
        capabilities(service),
    )


def ways(model: ServiceModel, known: Reach | None = None) -> tuple[Way, ...]:
    """All ways to a model, in the order of its service's URLs; `known` is its service's reach. Raises as `reach`."""
    known = known or reach(model.service)
    return tuple(
        Way(url, dict(_targets(model, known, url, credential))) for url, credential in known.credentials.items()
    )


def types_of(model: ServiceModel) -> tuple[str, ...]:
    """What the model is called for, in our words; nothing if it has no use here."""
    return tuple(model.model_types or ())


def urls(service: LLMService, driver: Driver) -> tuple[str, ...]:
    """Where the service is reached: at its driver's usual place, if its row names none."""
    return tuple(service.urls) or driver.default_urls


def policy(service: LLMService) -> Policy:
    """How far a call of the service's models may go, and for how long."""
    return Policy(
        allowed_networks=parse_networks([*settings.ALLOWED_NETWORKS, *service.allowed_networks]),
        connect_timeout_s=min(float(service.short_timeout_s), settings.GATEWAY_CONNECT_TIMEOUT_S),
        total_timeout_s=float(service.long_timeout_s),
        max_body_bytes=settings.GATEWAY_MAX_REPLY_BYTES,
        verify_tls=service.verify_cert,
        in_process=drivers.get(service.type).in_process,
    )


@sensitive_variables()
def key(service: LLMService, url: str) -> OpenSecret | None:
    """What the service is called with at one of its URLs: the stored key, else what its variable holds; None without.

    Raises SecretError for a stored key, or a file that the variable names, that cannot be read, and for a variable
    that holds something which may not be sent there.
    """
    if (stored := service.open_secret()) is not None:
        return stored
    name = service.api_key_env_var
    if not name or not env.is_set(name):
        return None
    if refused := key_variables.problem(name, [url]):
        raise SecretError(refused, hint=key_variables.remedy(name))
    try:
        found = env.text(name)
    except ImproperlyConfigured:  # it would tell of a path of this machine
        raise SecretError(
            f"The file that {name}_FILE names cannot be read.", hint="Check it, or name another variable."
        ) from None
    return OpenSecret(found, origin_of(url)) if found else None


def can(service: LLMService, capability: str) -> bool:
    """Whether it has a capability of CAPABILITIES: as a look at it found, else as its driver declares."""
    return capabilities(service).get(capability, False)


def capabilities(service: LLMService) -> dict[str, bool]:
    """All of them, in a fixed order. A service of a type that has no driver any more can do nothing."""
    driver = drivers.installed().get(service.type)
    declared = driver.capabilities if driver is not None else frozenset[str]()
    seen = service.capabilities if isinstance(service.capabilities, dict) else {}
    return {name: bool(seen.get(name, name in declared)) for name in CAPABILITIES}


def waits_for_load(model: ServiceModel, known: Reach | None = None) -> bool:
    """Whether it has to be loaded before it is called, because its runtime does not do so by itself."""
    known = known or reach(model.service)
    if known.driver.loads_on_request or model.state in (ModelState.LOADED, ModelState.UNKNOWN):
        return False
    return known.capabilities["load_model"]


def prices(model: ServiceModel) -> Prices | None:
    """What the operator says that it costs; None if nothing. Raises InvalidInput for options that make no sense."""
    given = _given_prices(model.service.options)
    fitting = [pattern for pattern in given if fnmatchcase(model.name, pattern)]
    return _prices(given[max(fitting, key=len)]) if fitting else None


def check_options(options: Any) -> None:
    """Raise InvalidInput unless quirks, prices and managers_may in a service's options can be used."""
    if not isinstance(options, Mapping):
        raise _wrong("Options are an object.")
    if not _can_be_kept(options):
        raise _wrong(f"Options are JSON of at most {MAX_OPTIONS_BYTES} bytes, not too deep, without NUL characters.")
    try:
        Quirks.from_data(options.get("quirks", {}))
    except ValueError as error:
        raise _wrong(f"{error}.") from None
    for chosen in _given_prices(options).values():
        _prices(chosen)
    allowed = options.get(MANAGERS_MAY, [])
    if not isinstance(allowed, list) or not all(isinstance(verb, str) and verb in VERBS for verb in allowed):
        raise _wrong(f"{MANAGERS_MAY} is a list of: {', '.join(VERBS)}.")


def _can_be_kept(options: Mapping[str, Any]) -> bool:
    """Whether any database takes it, and gives back the same."""
    try:
        text = json.dumps(options, allow_nan=False)
        return len(text) <= MAX_OPTIONS_BYTES and not is_deep(options) and storable(options) == options
    except (ValueError, TypeError, RecursionError):
        return False


def _given_prices(options: Any) -> Mapping[str, Any]:
    given = options.get("prices", {}) if isinstance(options, Mapping) else {}
    if not isinstance(given, Mapping):
        raise _wrong("prices is an object: {pattern: {input, output}}.")
    return given


def _prices(chosen: Any) -> Prices:
    if not isinstance(chosen, Mapping) or not set(chosen) <= set(_PRICES) or not {"input", "output"} <= set(chosen):
        raise _wrong("A price is an object with input and output, and perhaps cached_input.")
    return Prices(**{name: _price(chosen[name]) for name in _PRICES if name in chosen})


def _targets(
    model: ServiceModel, known: Reach, url: str, credential: CredentialFields
) -> Iterator[tuple[Operation, Target]]:
    service, driver, quirks = model.service, known.driver, known.quirks
    own_format = service.api_format in ("", driver.dialect)
    kinds, done = types_of(model), set()
    for kind in (kind for kind in LLMType if kind in kinds):
        operation = operation_for(kind)
        dialect = quirks.dialect_for(kind) or service.api_format or driver.dialect
        if operation in done or not dialects.is_installed(dialect) or operation not in dialects.operations(dialect):
            continue
        done.add(operation)
        yield (
            operation,
            Target(
                factory=service.name,
                model=model.name,
                base_url=url,
                dialect=dialect,
                signer=quirks.signers.get(kind) or (driver.signer if own_format else "bearer"),
                quirks=quirks,
                credential=credential,
                own_base_url=True,
            ),
        )


def _quirks(service: LLMService, driver: Driver) -> Quirks:
    """The wire format's usual place; what the driver knows, if its own format is spoken; and the operator's word."""
    dialect = service.api_format or driver.dialect
    usual = {"version_path": _VERSION_PATHS[dialect]} if dialect in _VERSION_PATHS else {}
    known = Quirks.from_data({**usual, **(driver.quirks if dialect == driver.dialect else {})})
    own = service.options.get("quirks", {}) if isinstance(service.options, dict) else {}
    return known.merge(Quirks.from_data(own)) if own else known


def _price(value: Any) -> Decimal | None:
    """A number, or a text that is one."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _LARGEST_PRICE:
        raise _wrong(f"A price is a number of USD per million tokens from 0 to {_LARGEST_PRICE}.")
    return amount


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(message, fields={"options": [message]})
