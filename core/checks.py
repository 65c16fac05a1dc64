"""System checks of what protects the installation itself: its keys, its files, its timings, the networks it may call.

E001  SECRET_KEY is missing, short or simple
E002  an encryption key is weak
E003  an encryption key is used twice
E005  ALLOWED_NETWORKS opens everything
E006  ALLOWED_NETWORKS opens metadata services
W009  DATA_DIR or its keys can be read by others
W014  a probe cannot finish in the time it is given, or nobody waits for it that long
E015  a secret is kept in a history table
E016  jobs would be taken from living workers
W022  SERVICE_KEY_VARIABLES lets many variables go anywhere
"""

from __future__ import annotations

import base64
import binascii
import stat
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from core.fields import SecretField
from core.keys import FILE_NAME
from core.netguard import Networks, parse_networks
from core.secrets import encryption_keys

SHORTEST_SECRET_KEY = 32
FEWEST_CHARACTERS = 8  # different ones in a key: random keys have many more
ENCRYPTION_KEY_BYTES = 32
FEWEST_BYTES = 16  # different ones in an encryption key, likewise
SHORTEST_PREFIX = {4: 8, 6: 7}  # 10.0.0.0/8 and fc00::/7: a larger network is no organisation's own
METADATA = {
    "169.254.169.254": "most clouds",
    "169.254.170.2": "AWS containers",
    "fd00:ec2::254": "AWS",
    "fd20:ce::254": "Google Cloud",
    "100.100.100.200": "Alibaba Cloud",
    "168.63.129.16": "Azure",
    "192.0.0.192": "Oracle Cloud",
}

Apps = Sequence[AppConfig] | None


@register(Tags.security)
def check_secret_key(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    key = _secret_key()
    if len(key) >= SHORTEST_SECRET_KEY and len(set(key)) >= FEWEST_CHARACTERS:
        return []
    return [
        Error(
            f"SECRET_KEY is missing, shorter than {SHORTEST_SECRET_KEY} characters, or simple.",
            hint="Sessions and tokens are signed with it. Make one with: python -c "
            "'import secrets; print(secrets.token_urlsafe(48))'",
            id="llmadmin.E001",
        )
    ]


@register(Tags.security)
def check_field_keys(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    keys = encryption_keys()
    found: list[CheckMessage] = []
    if weak := [number for number, key in enumerate(keys, 1) if _is_weak(key)]:
        found.append(
            Error(
                f"Number {', '.join(map(str, weak))} of FIELD_ENCRYPTION_KEY is not 32 random bytes in Base64.",
                hint="Add a good key in front with: manage.py rotate_secrets --new-key (or by hand, made by "
                "cryptography.fernet.Fernet.generate_key()), then run manage.py rotate_secrets.",
                id="llmadmin.E002",
            )
        )
    if len(set(keys)) < len(keys) or _secret_key() in keys:
        found.append(
            Error(
                "FIELD_ENCRYPTION_KEY lists a key twice, or one that is SECRET_KEY as well.",
                hint="A key serves one purpose: list each once, and keep SECRET_KEY apart.",
                id="llmadmin.E003",
            )
        )
    return found


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:  # Django refuses to hand out an empty one
        return ""


def _is_weak(key: str) -> bool:
    try:
        raw = base64.urlsafe_b64decode(key)
    except (binascii.Error, ValueError):
        return True
    return len(raw) != ENCRYPTION_KEY_BYTES or len(set(raw)) < FEWEST_BYTES


@register(Tags.security)
def check_allowed_networks(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    return network_messages(settings.ALLOWED_NETWORKS, "ALLOWED_NETWORKS", Error, "E005", "E006")


def network_messages(
    texts: Iterable[str], where: str, kind: Callable[..., CheckMessage], wide_id: str, metadata_id: str
) -> list[CheckMessage]:
    """What is wrong with a list of networks that calls may reach."""
    try:
        networks = parse_networks(texts)
    except ValueError as error:
        return [kind(f"{where}: {error}", hint="Write networks as 10.1.0.0/16.", id=f"llmadmin.{wide_id}")]
    found: list[CheckMessage] = []
    if wide := [str(network) for network in networks if _is_wide(network)]:
        found.append(
            kind(
                f"{where} opens much more than a network of yours: {', '.join(wide)}.",
                hint="Public addresses need no approval. List only the networks that your runtimes are in.",
                id=f"llmadmin.{wide_id}",
            )
        )
    if exposed := _metadata_inside(networks):
        found.append(
            kind(
                f"{where} lets tenants' base URLs reach the metadata service of {', '.join(exposed)}.",
                hint="It hands out the machine's own credentials. List smaller networks that leave it out.",
                id=f"llmadmin.{metadata_id}",
            )
        )
    return found


def _is_wide(network: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen < SHORTEST_PREFIX[network.version]


def _metadata_inside(networks: Networks) -> list[str]:
    inside = [
        cloud
        for text, cloud in METADATA.items()
        for address in [ip_address(text)]
        if any(
            address.version == network.version and address in network and not _is_wide(network) for network in networks
        )
    ]
    return list(dict.fromkeys(inside))


@register(Tags.security)
def check_key_variables(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    wide = [names for names, origin in settings.SERVICE_KEY_VARIABLES if not origin and set(names) & set("*?")]
    if not wide:
        return []
    return [
        Warning(
            f"SERVICE_KEY_VARIABLES lets whoever edits services send {', '.join(wide)} anywhere.",
            hint="Say where: NAME=https://host.",
            id="llmadmin.W022",
        )
    ]


@register(Tags.security)
def check_files(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    data_dir = Path(settings.DATA_DIR)
    open_to_others = [
        f"{path} (mode {mode:04o})"
        for path, forbidden in ((data_dir, 0o022), (data_dir / FILE_NAME, 0o077))
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & forbidden
    ]
    if not open_to_others:
        return []
    return [
        Warning(
            f"Other users of this machine can get at {' and '.join(open_to_others)}.",
            hint=f"The keys decrypt every tenant's key. Run: chmod 700 {data_dir}; chmod 600 {data_dir / FILE_NAME}",
            id="llmadmin.W009",
        )
    ]


@register()
def check_timings(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.PROBE_CONNECT_TIMEOUT_S > settings.PROBE_TIMEOUT_S:
        found.append(
            Warning(
                "PROBE_CONNECT_TIMEOUT_S is longer than PROBE_TIMEOUT_S, which ends the probe before.",
                hint="Connecting is a part of the probe: give it less time than the whole.",
                id="llmadmin.W014",
            )
        )
    if 0 < settings.PROBE_WAIT < settings.PROBE_CONNECT_TIMEOUT_S:
        found.append(
            Warning(
                "PROBE_WAIT is shorter than PROBE_CONNECT_TIMEOUT_S: whoever saves a key for a server that does not "
                "answer is never told so, but sent to the job.",
                hint="Make PROBE_WAIT longer, or 0 to never wait.",
                id="llmadmin.W014",
            )
        )
    if settings.JOB_LEASE_S < 2 * settings.JOB_HEARTBEAT_S:
        found.append(
            Error(
                "JOB_LEASE_S is less than twice JOB_HEARTBEAT_S: one late heartbeat, and a job is done twice.",
                hint="Three times is little, six times is good.",
                id="llmadmin.E016",
            )
        )
    return found


@register()
def check_history(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    """No history row holds a secret: a key that was replaced or deleted must be gone."""
    return [
        Error(
            f"{model._meta.label} keeps old values of the secret “{field.name}”.",
            hint="Add it to excluded_fields of HistoricalRecords.",
            obj=model,
            id="llmadmin.E015",
        )
        for model in apps.get_models(include_auto_created=True)
        if hasattr(model, "history_id")
        for field in model._meta.local_fields
        if isinstance(field, SecretField)
    ]
