"""Reads the `llm:` section of a configuration file in YAML. Pure; whatever is wrong is named with its line and path.

    llm:
      default_service: ollama
      temperature: 0.7
      max_tokens: 4096
      services:
        ollama:
          api_format: openai
          urls: ["http://localhost:11434"]
          api_key_env_var: OLLAMA_API_KEY
          upstream: {short_timeout_sec: 5, long_timeout_sec: 180, verify_cert: true, enable_discovery: true}

Beside these a service may have: type (a driver; else its name says it), description, enabled, audience (all, some,
none), allowed_networks, options. Whatever is not said stays as it is. Other sections of the file are not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from core.errors import InvalidInput
from runtimes.models import Audience

MAX_BYTES = 1024 * 1024
MAX_SERVICES = 1_000
TOLD = 20  # problems at most


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """What a file says of one service: columns of its row by name, and what is not one. None is not said."""

    name: str
    line: int
    values: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = field(default=None, repr=False)
    enabled: bool | None = None
    audience: str | None = None
    allowed_networks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The section. `said` has those of default_service, temperature and max_tokens that the file names."""

    services: tuple[ServiceEntry, ...]
    said: Mapping[str, Any]


Check = Callable[[Any], str]  # what is wrong with a value, "" if nothing


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else "a text is expected"


def _texts(value: Any) -> str:
    fits = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return "" if fits else "a list of texts is expected"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "true or false is expected"


def _seconds(value: Any) -> str:
    return "" if type(value) is int and value > 0 else "a whole number of seconds from 1 is expected"


def _object(value: Any) -> str:
    return "" if isinstance(value, dict) else "an object is expected"


def _temperature(value: Any) -> str:
    fits = value is None or (type(value) in (int, float) and 0 <= value <= 2)
    return "" if fits else "a number from 0 to 2 is expected"


def _tokens(value: Any) -> str:
    fits = value is None or (type(value) is int and 0 < value < 2**31)
    return "" if fits else "a whole number from 1 is expected"


def _audience(value: Any) -> str:
    return "" if value in Audience.values else f"one of {', '.join(Audience.values)} is expected"


GLOBAL: Mapping[str, Check] = {"default_service": _text, "temperature": _temperature, "max_tokens": _tokens}
# What the file calls it, what its row does, and what it may be.
COLUMNS: Mapping[str, tuple[str, Check]] = {
    "type": ("type", _text),
    "description": ("description", _text),
    "api_format": ("api_format", _text),
    "urls": ("urls", _texts),
    "api_key_env_var": ("api_key_env_var", _text),
    "options": ("options", _object),
}
UPSTREAM: Mapping[str, tuple[str, Check]] = {
    "short_timeout_sec": ("short_timeout_s", _seconds),
    "long_timeout_sec": ("long_timeout_s", _seconds),
    "verify_cert": ("verify_cert", _flag),
    "enable_discovery": ("enable_discovery", _flag),
}
BESIDE: Mapping[str, Check] = {
    "api_key": _text,
    "enabled": _flag,
    "audience": _audience,
    "allowed_networks": _texts,
}


def read(data: bytes | str) -> Config:
    """The section of a file; raises InvalidInput that names every problem with its line and path."""
    reader = _Reader()
    section = next((node for _, key, node in reader.pairs("", _composed(data)) if key == "llm"), None)
    if section is None:
        raise _malformed("it has no section “llm:”")
    config = reader.config(section)
    if reader.problems:
        reasons = reader.problems[:TOLD]
        raise InvalidInput(
            f"The file cannot be used: {'; '.join(f'{path} ({line}): {why}' for path, line, why in reasons)}.",
            fields={path: [f"{line}: {why}"] for path, line, why in reasons},
            code="bad_configuration",
        )
    return config


class _Reader:
    """Walks the nodes, and keeps what is wrong: (path, “line 3”, reason)."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str, str]] = []

    def config(self, section: yaml.Node) -> Config:
        said: dict[str, Any] = {}
        services: list[ServiceEntry] = []
        for path, key, node in self.pairs("llm", section):
            if key in GLOBAL:
                said[key] = self.value(path, node, GLOBAL[key])
            elif key == "services":
                services = [self.service(at, name, of) for at, name, of in self.pairs(path, node)]
            else:
                self.unknown(path, node, (*GLOBAL, "services"))
        if len(services) > MAX_SERVICES:
            self.wrong("llm.services", section, f"more than {MAX_SERVICES} services")
        return Config(tuple(services), said)

    def service(self, path: str, name: str, node: yaml.Node) -> ServiceEntry:
        values: dict[str, Any] = {}
        beside: dict[str, Any] = {}
        for at, key, of in self.pairs(path, node):
            if key in COLUMNS:
                column, check = COLUMNS[key]
                values[column] = self.value(at, of, check)
            elif key in BESIDE:
                beside[key] = self.value(at, of, BESIDE[key])
            elif key == "upstream":
                for under, each, value in self.pairs(at, of):
                    if each in UPSTREAM:
                        column, check = UPSTREAM[each]
                        values[column] = self.value(under, value, check)
                    else:
                        self.unknown(under, value, UPSTREAM)
            else:
                self.unknown(at, of, (*COLUMNS, *BESIDE, "upstream"))
        networks = beside.get("allowed_networks")
        return ServiceEntry(
            name=name,
            line=node.start_mark.line + 1,
            values=values,
            key=beside.get("api_key"),
            enabled=beside.get("enabled"),
            audience=beside.get("audience"),
            allowed_networks=tuple(networks) if isinstance(networks, list) else None,
        )

    def pairs(self, path: str, node: yaml.Node) -> Iterator[tuple[str, str, yaml.Node]]:
        """The members of a mapping: path, key, node. Nothing at all (`services:`) is an empty one."""
        if isinstance(node, yaml.ScalarNode) and node.value == "":
            return
        if not isinstance(node, yaml.MappingNode):
            self.wrong(path or "the file", node, "names with values are expected")
            return
        seen = set()
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.wrong(path or "the file", key_node, "a name is expected")
                continue
            key = str(key_node.value)
            at = f"{path}.{key}" if path else key
            if key in seen:
                self.wrong(at, key_node, "it is there twice")
                continue
            seen.add(key)
            yield at, key, value

    def value(self, path: str, node: yaml.Node, check: Check) -> Any:
        try:
            value = yaml.SafeLoader("").construct_object(node, deep=True)
            json.dumps(value, allow_nan=False)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # a date that is none, and the like
            self.wrong(path, node, "a plain value is expected")
            return None
        if problem := check(value):
            self.wrong(path, node, problem)
            return None
        return value

    def unknown(self, path: str, node: yaml.Node, known: Any) -> None:
        self.wrong(path, node, f"unknown; there are {', '.join(known)}")

    def wrong(self, path: str, node: yaml.Node, problem: str) -> None:
        self.problems.append((path[:200], f"line {node.start_mark.line + 1}", problem))


def _composed(data: bytes | str) -> yaml.Node:
    if len(data) > MAX_BYTES:
        raise _malformed(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        if any(isinstance(token, yaml.AliasToken | yaml.TagToken) for token in yaml.scan(text, yaml.SafeLoader)):
            raise _malformed("it uses aliases (*name) or tags (!name), which are not followed here")
        root = yaml.compose(text, yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:  # its text would quote the file, which may hold a key
        mark = error.problem_mark
        raise _malformed(f"it is no YAML{f' at line {mark.line + 1}' if mark else ''}") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise _malformed("it is no YAML") from None
    if root is None:
        raise _malformed("it is empty")
    return root


def _malformed(reason: str) -> InvalidInput:
    return InvalidInput(f"The file cannot be used: {reason}.", code="bad_configuration")


def compact(name: str) -> str:
    """A name as it is compared with those of drivers: letters and digits, without the number of a further instance."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"[_-]\d+\Z", "", name.lower()))
