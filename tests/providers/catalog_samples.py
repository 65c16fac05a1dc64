"""Small catalogue files that hold every oddity the real ones have, and a large one of the real ones' size."""

from __future__ import annotations

import json
from typing import Any


def ragflow(*factories: dict[str, Any]) -> bytes:
    return json.dumps({"factory_llm_infos": list(factories)}).encode()


def vendor(name: str = "Vendor", *models: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "logo": "", "tags": "LLM", "status": "1", "llm": list(models), **fields}


def model(llm_name: str = "one", **fields: Any) -> dict[str, Any]:
    row = {"llm_name": llm_name, "tags": "LLM,CHAT", "max_tokens": 8192, "model_type": "chat", "is_tools": True}
    return {**row, **fields}


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def factory_row(name: str = "Vendor", **fields: Any) -> dict[str, Any]:
    return {"model": "providers.llmfactory", "fields": {"name": name, **fields}}


def model_row(llm_name: str = "one", factory: str = "Vendor", **fields: Any) -> dict[str, Any]:
    row = {"factory": [factory], "llm_name": llm_name, "model_types": "chat", "tags": "LLM", "max_tokens": 8192}
    return {"model": "providers.llm", "fields": {**row, **fields}}


def llmadmin(*rows: dict[str, Any]) -> bytes:
    return json.dumps(rows or [factory_row(), model_row()]).encode()


def odd_ragflow() -> bytes:
    """Every oddity that was seen in published catalogues, once."""
    return ragflow(
        vendor(
            "Odd",
            model("listed", model_type=["image2text", "chat"]),
            model("single-list", model_type=["tts"]),
            model("renamed", model_type=["chat", "vision"]),
            model("heard", model_type="asr"),
            model("typo", model_type="reranker"),
            model("spaced", tags="RE-RANK, 8000"),
            model("trailing", tags="LLM,CHAT,"),
            model("featured", features=["is_tools", "thinking"]),
            model("zero", max_tokens=0),
            without(model("bare"), "max_tokens", "is_tools", "tags"),
            model("twice", model_type="chat", tags="LLM,CHAT,128k"),
            model("twice", model_type="image2text", tags="IMAGE2TEXT,128k"),
            model("same"),
            model("same"),
            rank="999",
            tags="LLM, TEXT RE-RANK",
            url="https://api.odd.example/v1/",
        ),
        vendor("Empty", url={"default": "https://empty.example/v1", "intl": "https://intl.empty.example/v1"}),
    )


def large_ragflow(*, factories: int = 71, models: int = 1005, tags: str = "LLM,CHAT") -> bytes:
    rows: list[list[dict[str, Any]]] = [[] for _ in range(factories)]
    for number in range(models):
        rows[number % factories].append(model(f"model-{number:04}", max_tokens=1024 + number, tags=tags))
    return ragflow(*(vendor(f"Vendor {index:02}", *llms, rank=str(index)) for index, llms in enumerate(rows)))


LITELLM = json.dumps(
    {
        "sample_spec": {
            "litellm_provider": "one of https://docs.litellm.ai/docs/providers",
            "max_tokens": "set to max",
        },
        "gpt-5-mini": {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_input_tokens": 272000,
            "max_output_tokens": 128000,
            "input_cost_per_token": 2.5e-07,
            "output_cost_per_token": 2e-06,
            "cache_read_input_token_cost": 2.5e-08,
            "input_cost_per_token_flex": 1.25e-07,
            "supports_function_calling": True,
            "supports_vision": True,
            "deprecation_date": "2027-08-07",
        },
        "gemini/gemini-embedding-001": {
            "litellm_provider": "gemini",
            "mode": "embedding",
            "max_input_tokens": 2048,
            "input_cost_per_token": 1.5e-07,
            "output_cost_per_token": 0,
        },
        "cohere/free-model": {
            "litellm_provider": "cohere_chat",
            "mode": "chat",
            "input_cost_per_token": 0.0,
            "output_cost_per_token": 0.0,
        },
        "whisper-1": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001},
        "dall-e-3": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_image": 0.04},
        "gpt-5.1": {"litellm_provider": "openai", "max_tokens": 400000},
        "someone/else": {"litellm_provider": "someone", "mode": "chat"},
        "homeless": {"mode": "chat"},
    }
).encode()

MODELS_DEV = json.dumps(
    {
        "openai": {
            "id": "openai",
            "name": "OpenAI",
            "models": {
                "gpt-5-mini": {
                    "id": "gpt-5-mini",
                    "tool_call": True,
                    "reasoning": True,
                    "modalities": {"input": ["text", "image"], "output": ["text"]},
                    "cost": {"input": 0.25, "output": 2, "cache_read": 0.025, "cache_write": 0.3},
                    "limit": {"context": 400000, "output": 128000},
                },
                "text-embedding-3-small": {
                    "modalities": {"input": ["text"], "output": ["text"]},
                    "cost": {"input": 0.02, "output": 0},
                    "limit": {"context": 8191, "output": 1536},
                },
                "tts-1": {"modalities": {"input": ["text"], "output": ["audio"]}},
                "whisper-1": {
                    "modalities": {"input": ["audio"], "output": ["text"]},
                    "cost": {"input": 0, "output": 0},
                },
                "sora": {"modalities": {"input": ["text"], "output": ["video"]}},
            },
        },
        "elsewhere": {"models": {"a": {}, "b": {}}},
        "broken": {"id": "broken"},
    }
).encode()
