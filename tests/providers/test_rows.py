"""What the rows of the shipped catalogue make of a call: where it goes, and which parameters it takes along.

Each case builds the request with the real row and the real wire format, as a call does.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.dialects import for_type
from providers.llm_types import LLMType
from providers.target import CredentialFields, Target
from providers.wire import UpstreamRequest
from tests.providers.exchanges import factory_of, quirks_of

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
PAYLOADS: dict[LLMType, dict[str, Any]] = {
    LLMType.CHAT: CHAT,
    LLMType.IMAGE2TEXT: CHAT,
    LLMType.EMBEDDING: {"input": ["a"]},
    LLMType.RERANK: {"query": "q", "documents": ["d"]},
    LLMType.SPEECH2TEXT: {"file": b"RIFF"},
    LLMType.TTS: {"input": "Hello"},
    LLMType.OCR: {"file": b"%PDF-1.7\n"},
}
SAMPLING = {"temperature": 0.2, "top_p": 0.3, "presence_penalty": 0.1, "frequency_penalty": 0.1}


def target(row: str, model: str, kind: LLMType, base_url: str = "", **fields: str) -> Target:
    values, quirks = factory_of(row), quirks_of(row, model)
    return Target(
        factory=values["name"],
        model=model,
        base_url=base_url or values["base_url"],
        dialect=quirks.dialect_for(kind) or values["dialect"],
        signer=quirks.signers.get(kind) or values["signer"],
        quirks=quirks,
        credential=CredentialFields(fields),
        own_base_url=bool(base_url),
    )


def build(to: Target, kind: LLMType, **payload: Any) -> UpstreamRequest:
    dialect, operation = for_type(kind, to.dialect, to.quirks.uncallable)
    return dialect.build(operation, {**PAYLOADS[kind], **payload}, to)


def body(to: Target, kind: LLMType, **payload: Any) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(build(to, kind, **payload).body or b"")
    return sent


C, E, R, V, A, T = (LLMType(name) for name in ("chat", "embedding", "rerank", "image2text", "speech2text", "tts"))

URLS = [
    ("302-ai", "gpt-4o", C, "https://api.302.ai/v1/chat/completions"),
    ("302-ai", "jina-clip-v2", E, "https://api.302.ai/jina/v1/embeddings"),
    ("302-ai", "jina-reranker-m0", R, "https://api.302.ai/jina/v1/rerank"),
    ("302-ai", "bge-reranker-v2-m3", R, "https://api.302.ai/v1/rerank"),
    ("anthropic", "claude-opus-4-6", V, "https://api.anthropic.com/v1/messages"),
    ("deepinfra", "openai/whisper-large-v3-turbo", A, "https://api.deepinfra.com/v1/openai/audio/transcriptions"),
    ("deepinfra", "hexgrad/Kokoro-82M", T, "https://api.deepinfra.com/v1/openai/audio/speech"),
    ("fish-audio", "s1", T, "https://api.fish.audio/v1/tts"),
    ("giteeai", "bge-m3", E, "https://ai.gitee.com/v1/embeddings"),
    ("giteeai", "bge-reranker-v2-m3", R, "https://ai.gitee.com/v1/rerank"),
    ("giteeai", "whisper-base", A, "https://ai.gitee.com/v1/audio/transcriptions"),
    ("greenpt", "green-rerank", R, "https://api.greenpt.ai/v1/rerank"),
    ("greenpt", "green-s", A, "https://api.greenpt.ai/v1/listen?model=green-s"),
    ("jiekou-ai", "gpt-5", C, "https://api.jiekou.ai/openai/v1/chat/completions"),
    ("jiekou-ai", "baai/bge-m3", E, "https://api.jiekou.ai/openai/v1/embeddings"),
    ("jiekou-ai", "baai/bge-reranker-v2-m3", R, "https://api.jiekou.ai/openai/v1/rerank"),
    ("jina", "jina-reranker-v2-base-multilingual", R, "https://api.jina.ai/v1/rerank"),
    ("minimax", "MiniMax-M2", C, "https://api.minimaxi.com/v1/chat/completions"),
    ("mistral-ocr", "mistral-ocr-latest", LLMType.OCR, "https://api.mistral.ai/v1/ocr"),
    ("novitaai", "baai/bge-m3", E, "https://api.novita.ai/openai/v1/embeddings"),
    ("novitaai", "baai/bge-reranker-v2-m3", R, "https://api.novita.ai/openai/v1/rerank"),
    ("nvidia", "nvidia/nv-embedqa-e5-v5", E, "https://integrate.api.nvidia.com/v1/embeddings"),
    ("nvidia", "nvidia/embed-qa-4", E, "https://ai.api.nvidia.com/v1/retrieval/nvidia/embeddings"),
    (
        *("nvidia", "snowflake-arctic-embed-l", E),
        "https://ai.api.nvidia.com/v1/retrieval/snowflake/arctic-embed-l/embeddings",
    ),
    (
        *("nvidia", "nvidia/nv-rerankqa-mistral-4b-v3", R),
        "https://ai.api.nvidia.com/v1/retrieval/nvidia/nv-rerankqa-mistral-4b-v3/reranking",
    ),
    ("nvidia", "nvidia/rerank-qa-mistral-4b", R, "https://ai.api.nvidia.com/v1/retrieval/nvidia/reranking"),
    ("openrouter", "openai/text-embedding-3-small", E, "https://openrouter.ai/api/v1/embeddings"),
    ("openrouter", "cohere/rerank-v3.5", R, "https://openrouter.ai/api/v1/rerank"),
    ("perplexity", "pplx-embed-v1-4b", E, "https://api.perplexity.ai/v1/embeddings"),
    ("perplexity", "pplx-embed-context-v1-4b", E, "https://api.perplexity.ai/v1/contextualizedembeddings"),
    ("ragcon", "m", R, "https://connect.ragcon.com/v1/rerank"),
    ("siliconflow", "BAAI/bge-m3", E, "https://api.siliconflow.cn/v1/embeddings"),
    ("siliconflow", "BAAI/bge-reranker-v2-m3", R, "https://api.siliconflow.cn/v1/rerank"),
    ("siliconflow-intl", "Qwen/Qwen3-Reranker-8B", R, "https://api.siliconflow.com/v1/rerank"),
    ("somark", "SoMark-model", LLMType.OCR, "https://somark.cn/api/v1/parse/sync"),
    ("stepfun", "step-asr", A, "https://api.stepfun.com/v1/audio/transcriptions"),
    ("togetherai", "Salesforce/Llama-Rank-V1", R, "https://api.together.xyz/v1/rerank"),
    ("upstage", "solar-embedding-1-large-query", E, "https://api.upstage.ai/v1/embeddings"),
    ("volcengine", "label", E, "https://ark.cn-beijing.volces.com/api/v3/embeddings/multimodal"),
    ("voyage-ai", "voyage-4", E, "https://api.voyageai.com/v1/embeddings"),
    ("voyage-ai", "voyage-multimodal-3", E, "https://api.voyageai.com/v1/multimodalembeddings"),
    ("voyage-ai", "rerank-2.5", R, "https://api.voyageai.com/v1/rerank"),
]


@pytest.mark.parametrize(("row", "model", "kind", "url"), URLS, ids=lambda value: str(value)[:60])
def test_a_call_of_a_vendors_goes_where_its_documentation_says(row: str, model: str, kind: LLMType, url: str) -> None:
    assert build(target(row, model, kind), kind).url == url


SERVERS = [
    ("funasr", A, "/v1/audio/transcriptions"),
    ("gpustack", C, "/v1/chat/completions"),
    ("gpustack", R, "/v1/rerank"),
    ("gpustack", A, "/v1/audio/transcriptions"),
    ("gpustack", T, "/v1/audio/speech"),
    ("huggingface", C, "/v1/chat/completions"),
    ("huggingface", E, "/embed"),
    ("huggingface", R, "/rerank"),
    ("lm-studio", C, "/v1/chat/completions"),
    ("lm-studio", E, "/v1/embeddings"),
    ("lm-studio", V, "/v1/chat/completions"),
    ("localai", E, "/v1/embeddings"),
    ("localai", R, "/v1/rerank"),
    ("localai", T, "/v1/audio/speech"),
    ("new-api", R, "/v1/rerank"),
    ("ollama", C, "/api/chat"),
    ("ollama", E, "/api/embed"),
    ("ollama", A, "/v1/audio/transcriptions"),
    ("ollama", T, "/v1/audio/speech"),
    ("openai-api-compatible", R, "/v1/rerank"),
    ("vllm", C, "/v1/chat/completions"),
    ("vllm", E, "/v1/embeddings"),
    ("vllm", R, "/v1/rerank"),
    ("vllm", A, "/v1/audio/transcriptions"),
    ("xinference", C, "/v1/chat/completions"),
    ("xinference", V, "/v1/chat/completions"),
    ("xinference", R, "/v1/rerank"),
    ("xinference", A, "/v1/audio/transcriptions"),
    ("xinference", T, "/v1/audio/speech"),
]


@pytest.mark.parametrize(("row", "kind", "path"), SERVERS)
@pytest.mark.parametrize("pasted", ["http://gpu:8000", "http://gpu:8000/", "http://gpu:8000/v1", "http://gpu:8000/v1/"])
def test_a_call_of_ones_own_server_goes_to_one_place_however_its_address_is_pasted(
    row: str, kind: LLMType, path: str, pasted: str
) -> None:
    assert build(target(row, "m", kind, pasted), kind).url == f"http://gpu:8000{path}"


@pytest.mark.parametrize(
    "pasted", ["https://gpt.mwsapis.ru/projects/p", "https://gpt.mwsapis.ru/projects/p/openai/v1/"]
)
def test_a_project_of_mws_has_several_apis(pasted: str) -> None:
    sent = {kind: build(target("mws", "m", kind, pasted), kind).url for kind in (C, E, R)}
    assert {url.removeprefix("https://gpt.mwsapis.ru/projects/p") for url in sent.values()} == {
        *("/openai/v1/chat/completions", "/openai/v1/embeddings", "/cohere/v2/rerank"),
    }


@pytest.mark.parametrize(("row", "suffix"), [("vllm", "VLLM"), ("localai", "LocalAI"), ("huggingface", "HuggingFace")])
def test_a_suffix_of_a_name_stays_here(row: str, suffix: str) -> None:
    assert body(target(row, f"qwen___{suffix}", C, "http://gpu"), C)["model"] == "qwen"
    assert body(target("openai-api-compatible", "qwen___OpenAI-API", C, "http://gpu"), C)["model"] == "qwen"


# Parameters


@pytest.mark.parametrize("row", ["openai", "302-ai", "cometapi", "jiekou-ai", "new-api", "openai-api-compatible"])
@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini", "gpt-5.4-2026-01-01", "o1", "o3-pro-2025-06-10", "o4-mini"])
def test_models_of_openai_that_reason_get_no_sampling_parameters(row: str, model: str) -> None:
    sent = body(target(row, model, C, "https://h/v1"), C, **SAMPLING, max_tokens=9, stop=["x"], seed=1)
    assert sent == {**CHAT, "model": model, "max_completion_tokens": 9, "seed": 1}


@pytest.mark.parametrize("model", ["gpt-5-chat-latest", "gpt-4o", "gpt-oss-120b"])
def test_models_of_openai_that_chat_get_them_all(model: str) -> None:
    asked = {**SAMPLING, "max_tokens": 9, "stop": ["x"]}
    assert body(target("openai", model, C), C, **asked) == {**CHAT, "model": model, **asked}


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("claude-opus-4-1-20250805", {"temperature"}),
        ("claude-sonnet-4-5-20250929", {"temperature"}),
        ("claude-haiku-4-5-20251001", {"temperature"}),
        ("claude-sonnet-4-6", {"temperature"}),
        ("claude-opus-4-7", set()),
        ("claude-opus-4-8", set()),
        ("claude-sonnet-5", set()),
        ("claude-opus-4-20250514", {"temperature", "top_p"}),
        ("claude-3-5-sonnet-20241022", {"temperature", "top_p"}),
    ],
)
def test_claude_gets_as_many_samplers_as_it_takes(model: str, kept: set[str]) -> None:
    for row in ("anthropic", "jiekou-ai"):
        sent = body(target(row, model, C), C, temperature=0.2, top_p=0.3, max_tokens=9)
        assert {"temperature", "top_p"} & set(sent) == kept, row
        assert sent["max_tokens"] == 9
        assert body(target(row, model, C), C, top_p=0.3).get("top_p") == (0.3 if kept else None)


@pytest.mark.parametrize("model", ["qwen3-8b", "qwen3-30b-a3b", "qwen3-235b-a22b"])
def test_qwen3_thinks_only_in_streams(model: str) -> None:
    to = target("tongyi-qianwen", model, C)
    assert body(to, C)["enable_thinking"] is False
    assert "enable_thinking" not in body(to, C, stream=True)
    assert body(to, C, enable_thinking=True)["enable_thinking"] is True


@pytest.mark.parametrize("model", ["qwen3-max", "qwen3-30b-a3b-thinking-2507", "qwen3-vl-plus", "qwen-plus"])
def test_other_models_of_qwen_are_asked_for_nothing(model: str) -> None:
    assert "enable_thinking" not in body(target("tongyi-qianwen", model, C), C)


PARAMETERS: list[tuple[str, str, LLMType, dict[str, Any], dict[str, Any]]] = [
    ("baichuan", "Baichuan4", C, {}, {"temperature": 0.3, "top_p": 0.85}),
    ("baichuan", "Baichuan4", C, {"seed": 1, "top_p": 0.5}, {"seed": None, "top_p": 0.5}),
    ("baichuan", "Baichuan4", C, {"max_completion_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": None}),
    ("mistral", "mistral-large-latest", C, {"seed": 7}, {"random_seed": 7, "seed": None}),
    ("mistral", "mistral-large-latest", C, {"temperature": 2}, {"temperature": 1.5}),
    ("mistral", "mistral-large-latest", C, {"stream": True, "stream_options": {}}, {"stream_options": None}),
    ("deepseek", "deepseek-chat", C, {"max_completion_tokens": 5}, {"max_tokens": 5}),
    ("minimax", "MiniMax-M2", C, {"temperature": 0}, {"temperature": 0.01}),
    ("longcat", "m", C, {"temperature": 1.7}, {"temperature": 1}),
    ("zhipu-ai", "glm-4.5", C, {"temperature": 1.7}, {"temperature": 1}),
    ("moonshot", "kimi-k2-0905-preview", C, {"temperature": 1.7, "top_p": 0.5}, {"temperature": 1, "top_p": 0.5}),
    ("moonshot", "kimi-k2.5", C, {"temperature": 0.3, "top_p": 0.5}, {"temperature": None, "top_p": None}),
    ("moonshot", "kimi-k2.9-new", C, {"temperature": 0.3, "n": 2}, {"temperature": None, "n": None}),
    ("moonshot", "kimi-k3", C, {"temperature": 0.3}, {"temperature": None}),
    ("voyage-ai", "voyage-4", E, {"dimensions": 256}, {"output_dimension": 256, "input_type": "document"}),
    ("voyage-ai", "rerank-2.5", R, {"top_n": 3}, {"top_k": 3, "top_n": None}),
    ("jina", "jina-embeddings-v3", E, {}, {"task": "retrieval.passage", "truncate": True}),
    ("jina", "jina-embeddings-v4", E, {"input_type": "query"}, {"task": "retrieval.query", "input_type": None}),
    ("jina", "jina-embeddings-v5-text-small", E, {}, {"task": "retrieval.passage"}),
    (
        "jina",
        "jina-embeddings-v2-base-en",
        E,
        {"encoding_format": "base64"},
        {"task": None, "embedding_type": "base64"},
    ),
    ("jina", "jina-reranker-v2-base-multilingual", R, {"user": "u"}, {"truncate": None, "user": None}),
    ("nvidia", "nvidia/nv-embedqa-e5-v5", E, {}, {"input_type": "passage", "truncate": "END"}),
    ("nvidia", "nvidia/nv-embedqa-e5-v5", E, {"input_type": "query", "truncate": "NONE"}, {"input_type": "query"}),
    ("nvidia", "nvidia/embed-qa-4", E, {}, {"model": "NV-Embed-QA"}),
    ("nvidia", "nvidia/rerank-qa-mistral-4b", R, {}, {"model": "nv-rerank-qa-mistral-4b:1"}),
    ("nvidia", "meta/llama-3.1-8b-instruct", C, {}, {"truncate": None}),
    ("siliconflow", "FunAudioLLM/CosyVoice2-0.5B", T, {}, {"voice": "FunAudioLLM/CosyVoice2-0.5B:anna"}),
    ("siliconflow", "new/tts", T, {"voice": "mine"}, {"voice": "mine"}),
    ("siliconflow-intl", "IndexTeam/IndexTTS-2", T, {}, {"voice": "IndexTeam/IndexTTS-2:anna"}),
    ("stepfun", "step-tts-mini", T, {}, {"voice": "cixingnansheng"}),
    ("gpustack", "m", T, {}, {"voice": "Chinese Female"}),
    ("xinference", "m", T, {}, {"voice": None}),
    ("deepinfra", "sesame/csm-1b", T, {}, {"voice": None}),
    ("deepinfra", "hexgrad/Kokoro-82M", T, {}, {"voice": "af_heart"}),
    ("openai", "tts-1", T, {}, {"voice": "alloy"}),
    ("openrouter", "m", C, {}, {"provider": None}),
]


@pytest.mark.parametrize(
    ("row", "model", "kind", "asked", "sent"), PARAMETERS, ids=lambda value: str(value)[:40] if value else ""
)
def test_a_row_sends_parameters_as_its_vendor_takes_them(
    row: str, model: str, kind: LLMType, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    found = body(target(row, model, kind, "https://h/v1" if not factory_of(row)["base_url"] else ""), kind, **asked)
    assert {name: found.get(name) for name in sent} == sent


def test_openrouter_is_told_which_providers_may_serve() -> None:
    wanted = {"order": ["anthropic", "google-vertex"], "allow_fallbacks": False}
    for kind in (C, E):
        to = target("openrouter", "m", kind, provider_order="anthropic, google-vertex")
        assert body(to, kind)["provider"] == wanted
        assert body(to, kind, provider={"sort": "price"})["provider"] == {"sort": "price"}


def test_minimax_is_told_the_group_of_a_key_that_needs_one() -> None:
    to = target("minimax", "MiniMax-M2", C, group_id="179")
    assert build(to, C).url == "https://api.minimaxi.com/v1/chat/completions?GroupId=179"


def test_ark_is_called_by_the_credentials_endpoint() -> None:
    to = target("volcengine", "label", E, endpoint_id="ep-1")
    assert body(to, E)["model"] == "ep-1"


def test_what_a_vendor_has_no_api_for_is_said() -> None:
    to = target("openai", "m", R)
    assert to.quirks.uncallable == {R: "OpenAI has no API for reranking."}


@pytest.mark.parametrize(
    ("row", "model", "batch", "batch_tokens", "max_tokens"),
    [
        ("openai", "text-embedding-3-small", 16, 300_000, 8191),
        ("voyage-ai", "voyage-4", 128, 120_000, None),
        ("perplexity", "pplx-embed-v1-4b", 512, 120_000, 32_000),
        ("siliconflow", "BAAI/bge-large-zh-v1.5", 32, None, 512),
        ("siliconflow", "Pro/BAAI/bge-large-new", 32, None, 512),
        ("zhipu-ai", "embedding-2", 16, None, 512),
        ("zhipu-ai", "embedding-3", 16, None, 3072),
        ("volcengine", "label", 1, None, None),
        ("cohere", "embed-v4.0", 96, None, None),
        ("jina", "jina-embeddings-v3", 16, None, None),
    ],
)
def test_a_row_says_how_much_is_embedded_at_once(
    row: str, model: str, batch: int, batch_tokens: int | None, max_tokens: int | None
) -> None:
    quirks = target(row, model, E).quirks
    assert (quirks.embedding_batch, quirks.embedding_batch_tokens) == (batch, batch_tokens)
    assert quirks.embedding_max_tokens == max_tokens
