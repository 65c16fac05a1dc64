"""How the rows of ZHIPU-AI, MiniMax, BaiChuan and Tencent Hunyuan bend OpenAI's format, after their documentation.

Sources: https://docs.bigmodel.cn/api-reference, https://platform.minimaxi.com/docs/api-reference/text-openai-api and
https://platform.baichuan-ai.com/docs/api
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret
from providers import signers
from providers.calls import call
from providers.dialects import get
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.target import CredentialFields, Target
from providers.wire import Operation, operation_for
from tests.fakes.upstream import KEY, FakeUpstream
from tests.providers.exchange_cases import HI, POLICY
from tests.providers.exchanges import factory_of, quirks_of

openai = get("openai")


def sent(row: str, model: str, **payload: Any) -> dict[str, Any]:
    to = Target("F", model, "https://h/v1", quirks=quirks_of(row, model))
    body: dict[str, Any] = json.loads(openai.build(Operation.CHAT, {**HI, **payload}, to).body or b"")
    return {name: value for name, value in body.items() if name not in (*HI, "model")}


@pytest.mark.parametrize(
    ("row", "model", "asked", "expected"),
    [
        ("zhipu-ai", "glm-5", {"temperature": 2, "top_p": 0}, {"temperature": 1, "top_p": 0.01}),
        ("zhipu-ai", "glm-5", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("minimax", "MiniMax-M2.5", {"temperature": 0}, {"temperature": 0.01}),
        ("minimax", "MiniMax-M2.5", {"temperature": 2}, {"temperature": 1}),
        ("baichuan", "Baichuan4", {}, {"temperature": 0.3, "top_p": 0.85}),
        (
            *("baichuan", "Baichuan4", {"temperature": 2, "top_p": 1, "max_tokens": 9000, "seed": 1}),
            {"temperature": 1, "top_p": 0.99, "max_tokens": 2048},
        ),
        (
            *("baichuan", "Baichuan-M3-Plus", {"max_completion_tokens": 9000}),
            {"temperature": 0.3, "top_p": 0.85, "max_tokens": 9000},
        ),
    ],
)
def test_parameters_are_brought_within_their_bounds(
    row: str, model: str, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert sent(row, model, **asked) == expected


CELLS = [
    ("zhipu-ai", LLMType.CHAT, "glm-5", "glm-5"),
    ("zhipu-ai", LLMType.IMAGE2TEXT, "glm-4.5v", "glm-4.5v"),
    ("zhipu-ai", LLMType.EMBEDDING, "embedding-3", "embedding-3"),
    ("zhipu-ai", LLMType.RERANK, "rerank", "rerank"),
    ("zhipu-ai", LLMType.SPEECH2TEXT, "glm-asr", "glm-asr-2512"),
    ("minimax", LLMType.CHAT, "MiniMax-M2.5", "MiniMax-M2.5"),
    ("baichuan", LLMType.CHAT, "Baichuan4-Turbo", "Baichuan4-Turbo"),
    ("baichuan", LLMType.EMBEDDING, "Baichuan-Text-Embedding", "Baichuan-Text-Embedding"),
]


@pytest.mark.parametrize(("row", "kind", "model", "known_as"), CELLS)
def test_a_probe_of_each_type_says_ok(row: str, kind: LLMType, model: str, known_as: str) -> None:
    factory = factory_of(row)
    with FakeUpstream(models=[known_as]) as upstream:
        quirks = quirks_of(row, model)
        credential = CredentialFields({}, OpenSecret(KEY, origin_of(upstream.url)))
        to = Target(
            *(row, model, upstream.url, factory["dialect"], factory["signer"], quirks, credential), own_base_url=True
        )
        check_reply(kind, call(to, operation_for(kind), probe_payload(kind, quirks), policy=POLICY))
        if not quirks.no_model_list:
            listed = call(to, Operation.MODELS, {}, policy=POLICY)
            assert isinstance(listed, list)
            assert [found.id for found in listed] == [known_as]


# Hunyuan, which older clients send a pair of keys for


@pytest.mark.parametrize(
    ("secret", "sent"),
    [
        ({"api_key": "sk-1"}, "Bearer sk-1"),
        ({"api_key": "sk-1", "hunyuan_sid": "AKIDcanary", "hunyuan_sk": "canary"}, "Bearer sk-1"),
        ({"hunyuan_sid": "AKIDcanary", "hunyuan_sk": "canary"}, None),
    ],
)
def test_the_pair_of_an_older_client_goes_nowhere(secret: dict[str, str], sent: str | None) -> None:
    hunyuan = factory_of("tencent-hunyuan")
    to = Target("F", "hy3", hunyuan["base_url"], quirks=quirks_of("tencent-hunyuan", "hy3"))
    request = get(hunyuan["dialect"]).build(Operation.CHAT, probe_payload(LLMType.CHAT, to.quirks), to)
    credential = CredentialFields({}, OpenSecret(json.dumps(secret), request.origin))
    headers = signers.get(hunyuan["signer"]).sign(request, credential).headers
    assert {name.lower(): value for name, value in headers.items()}.get("authorization") == sent
    assert "canary" not in str(headers)
