"""What Xinference tells of a model, and what it is told of one. Part of `runtimes.drivers.xinference`.

A model that runs has an entry of its own; of one that is kept but does not run, the list of what is kept tells little,
so that its registration is read, too.
Source: https://inference.readthedocs.io/en/latest/models/custom.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from providers.llm_types import LLMType
from runtimes.drivers._json import MAX_TOKENS, Object, parameters, positive, text, texts
from runtimes.drivers.base import Described

SPEC = ("model_type", "model_engine", "model_format", "model_size_in_billions", "quantization")  # names one launch
_KINDS = {"LLM": "llm", "embedding": "embeddings", "rerank": "rerank", "audio": "audio"}
_ABILITIES = {
    "chat": LLMType.CHAT,
    "vision": LLMType.IMAGE2TEXT,
    "audio2text": LLMType.SPEECH2TEXT,
    "text2audio": LLMType.TTS,
}
_ALWAYS = {"embedding": ("embedding",), "rerank": ("rerank",)}


def detail_of(entry: Object) -> dict[str, Any]:
    keys = ("model_name", "model_type", "model_format", "model_size_in_billions", "quantization", "model_version")
    return {key: entry[key] for key in keys if isinstance(entry.get(key), str | int | float)}


def described(name: str, state: str, entry: Object) -> Described:
    kind, abilities = text(entry.get("model_type")), texts(entry.get("model_ability"))
    types = tuple(str(_ABILITIES[one]) for one in abilities if one in _ABILITIES)
    types = types or _ALWAYS.get(kind, ())
    talks, format = "chat" in abilities, text(entry.get("model_format"))
    return Described(
        name,
        type="vlm" if kind == "LLM" and "vision" in abilities else _KINDS.get(kind, "unknown"),
        state=state,
        model_types=types,
        description=text(entry.get("model_description"), 1000),
        architecture=text(entry.get("model_family"), 64),
        quantization=text(entry.get("quantization"), 32),
        parameters=_size(entry.get("model_size_in_billions")),
        max_tokens=positive(entry.get("context_length") or entry.get("max_tokens"), MAX_TOKENS),
        size_bytes=positive(entry.get("size_bytes")),
        streaming=talks if abilities else None,
        instructed=talks if abilities else None,
        tooling="tools" in abilities if abilities else None,
        is_mlx=format == "mlx",
        is_gguf=format.startswith("gguf"),
        runtime_name=", ".join(texts(entry.get("model_engine"))) or text(entry.get("model_engine"), 64),
        file_path=text(entry.get("real_path") or entry.get("path"), 1024),
        detail=detail_of(entry),
    )


def _size(billions: Any) -> int | None:
    """It writes 1.8 as "1_8"."""
    said = text(billions).replace("_", ".") if isinstance(billions, str) else billions
    return parameters(f"{said}b") if isinstance(said, str | int | float) and not isinstance(said, bool) else None


def registration(name: str, path: str, kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a model that is imported; `options` may say more of it."""
    uri = path if urlsplit(path).scheme else f"file://{quote(path)}"
    is_gguf = path.lower().endswith(".gguf")
    spec: dict[str, Any] = {
        "model_format": options.get("model_format") or ("ggufv2" if is_gguf else "pytorch"),
        "quantization": options.get("quantization") or "none",
        "model_id": None,
        "model_uri": uri,
    }
    if is_gguf:
        spec["model_file_name_template"] = PurePosixPath(path).name
    if kind != "LLM":
        given = {key: options[key] for key in ("dimensions", "max_tokens") if options.get(key) is not None}
        return {"version": 2, "model_name": name, "language": ["en"], **given, "model_specs": [spec]}
    spec["model_size_in_billions"] = options.get("model_size_in_billions") or 1
    told: dict[str, Any] = {
        "version": 2,
        "model_name": name,
        "model_lang": ["en"],
        "model_ability": options.get("model_ability") or ["chat"],
        "model_family": options.get("model_family") or name,
        "model_specs": [spec],
    }
    more = ("context_length", "chat_template", "stop", "stop_token_ids", "model_description", "tool_parser")
    return told | {key: options[key] for key in more if options.get(key) is not None}
