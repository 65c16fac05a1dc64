"""What entries of vendors' lists of models are read as. Each is shaped as the vendor's own documentation shows it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.discovery import Known, Source, read, typed, words
from providers.llm_types import LLMType

Raw = dict[str, Any]
TEXT = {"input_modalities": ["text"], "output_modalities": ["text"]}

# (where from, model, entry) → types, context window, and what is said of vision, tools and thinking (None: nothing)
SAID: list[tuple[str, str, Raw, str, int | None, tuple[bool | None, bool | None, bool | None]]] = [
    (
        "Ollama", "gemma3:4b",
        {"capabilities": ["completion", "vision"], "model_info": {"gemma3.context_length": 131072}, "details": {}},
        "chat,image2text", 131072, (True, False, False),
    ),
    (
        "Ollama", "qwen3:8b",
        {"capabilities": ["completion", "tools", "thinking"], "details": {"context_length": 40960}},
        "chat", 40960, (False, True, True),
    ),
    ("Ollama", "all-minilm", {"capabilities": ["embedding"]}, "embedding", None, (False, False, False)),
    (
        "Xinference", "qwen2-vl",
        {"model_type": "LLM", "model_ability": ["chat", "vision", "tools"], "context_length": 32768, "replica": 1},
        "chat,image2text", 32768, (True, True, None),
    ),
    ("Xinference", "m3", {"model_type": "embedding", "max_tokens": 8192}, "embedding", 8192, (None, None, None)),
    ("Xinference", "r", {"model_type": "rerank"}, "rerank", None, (None, None, None)),
    ("Xinference", "s", {"model_type": "audio", "model_ability": ["audio2text"]}, "speech2text", None, (None,) * 3),
    ("Xinference", "c", {"model_type": "audio", "model_ability": ["text2audio"]}, "tts", None, (None, None, None)),
    ("Xinference", "sd", {"model_type": "image", "model_ability": ["text2image"]}, "", None, (None, None, None)),
    (
        "OpenRouter", "openai/gpt-4o",
        {
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"], "tokenizer": "GPT"},
            "context_length": 128000, "top_provider": {"context_length": 64000, "is_moderated": True},
            "supported_parameters": ["max_tokens", "tools", "tool_choice"],
        },
        "chat,image2text", 128000, (True, True, False),
    ),
    (
        "OpenRouter", "openai/text-3",
        {"architecture": {"input_modalities": ["text"], "output_modalities": ["embeddings"]}, "context_length": 8192},
        "embedding", 8192, (False, None, None),
    ),
    (
        "OpenRouter", "x/draws", {"architecture": {"input_modalities": ["text"], "output_modalities": ["image"]}},
        "", None, (False, None, None),
    ),
    (
        "OpenRouter", "x/draws-and-talks",
        {"architecture": {"input_modalities": ["text"], "output_modalities": ["image", "text"]}},
        "chat", None, (False, None, None),
    ),
    (
        "OpenRouter", "x/says", {"architecture": {"input_modalities": ["text"], "output_modalities": ["speech"]}},
        "tts", None, (False, None, None),
    ),
    (
        "VolcEngine", "doubao-1-5-lite",
        {
            "domain": "LLM", "task_type": ["TextGeneration"], "features": {"tools": {"function_calling": True}},
            "modalities": TEXT, "token_limits": {"context_window": 32768, "max_output_token_length": 12288},
        },
        "chat", 32768, (False, True, None),
    ),
    (
        "VolcEngine", "doubao-seed", {"domain": "VLM", "task_type": ["VisualQuestionAnswering"], "features": {}},
        "chat,image2text", None, (True, None, None),
    ),
    ("VolcEngine", "doubao-e", {"domain": "Embedding", "modalities": {"input_modalities": ["text"]}}, "embedding",
     None, (False, None, None)),
    ("VolcEngine", "seedream", {"domain": "ImageGeneration", "task_type": ["TextToImage"]}, "", None, (None,) * 3),
    (
        "Mistral", "pixtral-large",
        {
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": True, "ocr": False},
            "max_context_length": 131072, "type": "base",
        },
        "chat,image2text", 131072, (True, True, None),
    ),
    (
        "Mistral", "ministral", {"capabilities": {"completion_chat": True, "function_calling": False, "vision": False}},
        "chat", None, (False, False, None),
    ),
    ("Mistral", "mod", {"capabilities": {"completion_chat": False, "moderation": True}}, "", None, (None,) * 3),
    ("Mistral", "vox", {"capabilities": {"completion_chat": False, "audio_transcription": True}}, "speech2text",
     None, (None, None, None)),
    (
        "Gemini", "gemini-3-pro",
        {"supportedGenerationMethods": ["generateContent"], "inputTokenLimit": 1048576, "thinking": True},
        "chat", 1048576, (None, None, True),
    ),
    ("Gemini", "gemini-e", {"supportedGenerationMethods": ["embedContent"], "inputTokenLimit": 2048}, "embedding",
     2048, (None, None, None)),
    ("Gemini", "live", {"supportedGenerationMethods": ["bidiGenerateContent"]}, "", None, (None, None, None)),
    (
        "Cohere", "command-a-vision",
        {"endpoints": ["chat"], "features": ["vision", "json_mode"], "context_length": 128000.0},
        "chat,image2text", 128000, (True, None, None),
    ),
    ("Cohere", "e4", {"endpoints": ["embed", "classify"], "context_length": 128000}, "embedding", 128000, (None,) * 3),
    ("Cohere", "r3", {"endpoints": ["rerank"]}, "rerank", None, (None, None, None)),
    (
        "Anthropic", "claude-opus-5",
        {
            "type": "model", "max_input_tokens": 200000, "max_tokens": 64000,
            "capabilities": {
                "image_input": {"supported": True}, "batch": {"supported": True},
                "thinking": {"supported": True, "types": {"enabled": {"supported": True}}},
            },
        },
        "chat,image2text", 200000, (True, None, True),
    ),
    (
        "Bedrock", "amazon.nova-pro-v1:0",
        {
            "inputModalities": ["TEXT", "IMAGE", "VIDEO"], "outputModalities": ["TEXT"],
            "modelLifecycle": {"status": "ACTIVE"},
        },
        "chat,image2text", None, (True, None, None),
    ),
    ("Bedrock", "titan", {"inputModalities": ["TEXT"], "outputModalities": ["EMBEDDING"]}, "embedding", None,
     (False, None, None)),
    ("TEI", "x/y", {"model_type": {"embedding": {"pooling": "cls"}}, "max_input_length": 512}, "embedding", 512,
     (None, None, None)),
    ("TEI", "x/z", {"model_type": {"reranker": {"id2label": {"0": "A"}}}}, "rerank", None, (None, None, None)),
    ("TEI", "x/c", {"model_type": {"classifier": {"id2label": {"0": "A"}}}}, "", None, (None, None, None)),
    ("TGI", "m", {"model_pipeline_tag": "text-generation", "max_total_tokens": 4096}, "chat", 4096, (None,) * 3),
    ("LM Studio v0", "qwen2-vl", {"type": "vlm", "state": "not-loaded", "max_context_length": 32768}, "chat,image2text",
     32768, (True, None, None)),
    ("LM Studio v0", "n", {"type": "embeddings", "capabilities": []}, "embedding", None, (None, None, None)),
    (
        "LM Studio v1", "gemma",
        {"type": "llm", "max_context_length": 8192, "capabilities": {"vision": True, "trained_for_tool_use": False}},
        "chat,image2text", 8192, (True, False, None),
    ),
    ("LocalAI", "p", {"capabilities": ["transcript"], "input_modalities": ["audio"], "output_modalities": ["text"]},
     "speech2text", None, (False, False, False)),
    ("LocalAI", "v", {"capabilities": ["tts"], "input_modalities": ["text"], "output_modalities": ["audio"]}, "tts",
     None, (False, False, False)),
    ("Together", "m", {"type": "chat", "context_length": 8192}, "chat", 8192, (None, None, None)),
    ("Together", "w", {"type": "transcribe"}, "speech2text", None, (None, None, None)),
    ("Together", "sonic", {"type": "audio"}, "tts", None, (None, None, None)),
    ("Together", "guard", {"type": "moderation"}, "", None, (None, None, None)),
    ("GPUStack", "g", {"categories": ["text_to_speech"]}, "tts", None, (None, None, None)),
    (
        "NovitaAI", "n",
        {"model_type": "chat", "features": ["function-calling", "reasoning"], "context_size": 64000, "status": 1},
        "chat", 64000, (None, True, True),
    ),
    (
        "aimlapi.com", "o3",
        {
            "type": "chat-completion", "info": {"contextLength": 200000, "maxTokens": 100000},
            "features": ["openai/chat-completion.function", "openai/chat-completion.vision"],
        },
        "chat,image2text", 200000, (True, True, None),
    ),
    ("Moonshot", "kimi", {"supports_image_in": True, "supports_reasoning": False, "context_length": 131072},
     "chat,image2text", 131072, (True, None, False)),
    ("New API", "g", {"supported_endpoint_types": ["jina-rerank"]}, "rerank", None, (None, None, None)),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "name", "raw", "kinds", "tokens", "features"), SAID)
def test_what_a_vendor_says_is_understood(
    vendor: str, name: str, raw: Raw, kinds: str, tokens: int | None, features: tuple[bool | None, ...]
) -> None:
    found = typed(name, read(name, raw))
    assert (",".join(found.types), found.source, found.max_tokens) == (kinds, Source.UPSTREAM, tokens)
    assert (found.vision, found.tools, found.thinking) == features


# What says nothing of types, or nothing firm: (entry, name) → types by name.
UNSAID: list[tuple[Raw, str, str]] = [
    ({}, "gpt-4o", "chat,image2text"),
    ({}, "gpt-4o-mini-transcribe", "speech2text"),
    ({}, "gpt-4o-mini-tts", "tts"),
    ({}, "whisper-1", "speech2text"),
    ({}, "text-embedding-3-small", "embedding"),
    ({}, "BAAI/bge-reranker-v2-m3", "rerank"),
    ({}, "BAAI/bge-m3", "embedding"),
    ({}, "intfloat/multilingual-e5-large", "embedding"),
    ({}, "qwen2.5vl:7b", "chat,image2text"),
    ({}, "internvl3", "chat,image2text"),
    ({}, "solver-7b", "chat"),
    ({}, "battsman", "chat"),
    ({}, "laser-asr-2", "speech2text"),
    ({}, "dall-e-3", ""),
    ({}, "omni-moderation-latest", ""),
    ({"max_model_len": 32768, "owned_by": "vllm"}, "Qwen/Qwen2.5-VL-7B-Instruct", "chat,image2text"),
    ({"active": True, "context_window": 448}, "whisper-large-v3-turbo", "speech2text"),
    ({"metadata": None}, "BAAI/bge-large-en", "embedding"),
    ({"object": "model", "owned_by": "nvidia"}, "nvidia/nv-embedqa-e5-v5", "embedding"),
    ({"architecture": TEXT, "meta": {"n_ctx": 512}}, "tiny-embed", "embedding"),  # what llama.cpp says of them all
    ({"architecture": TEXT, "meta": {"n_ctx": 512}}, "tiny-rerank", "rerank"),
    ({"supportedGenerationMethods": ["generateContent"]}, "gemini-2.5-flash-preview-tts", "tts"),
    ({"inputModalities": ["TEXT"], "outputModalities": ["TEXT"]}, "cohere.rerank-v3-5:0", "rerank"),
    ({"capabilities": {"completion_chat": False, "vision": False}}, "mistral-embed", "embedding"),
    ({"supported_endpoint_types": ["openai"]}, "tts-1", "tts"),
    ({"type": "model", "tags": ["image", "code"]}, "anything", "chat"),
]


@pytest.mark.parametrize(("raw", "name", "kinds"), UNSAID)
def test_a_name_is_the_last_word_where_nobody_has_said_more(raw: Raw, name: str, kinds: str) -> None:
    found = typed(name, read(name, raw))
    assert (",".join(found.types), found.source) == (kinds, Source.NAME)


def test_the_catalogue_comes_before_the_name_and_after_the_upstream() -> None:
    known = Known((LLMType.CHAT, LLMType.IMAGE2TEXT), 4096)
    mute, firm, loose = (read("x", raw) for raw in ({}, {"type": "embedding"}, {"architecture": TEXT}))
    assert typed("tts-1", mute, known=known).types == known.types
    assert typed("tts-1", mute, known=known).source is Source.CATALOGUE
    assert typed("tts-1", mute, known=known).max_tokens == 4096
    assert typed("tts-1", firm, known=known).types == (LLMType.EMBEDDING,)
    assert typed("x", loose, known=Known((LLMType.RERANK,))).types == (LLMType.RERANK,)
    said = typed("x", read("x", {"type": "chat", "context_length": 1}), known=known)
    assert (said.types, said.max_tokens, said.source) == (known.types, 1, Source.UPSTREAM)
    blind = read("x", {"type": "chat", "supports_vision": False})
    assert typed("x-vl", blind, known=known).types == (LLMType.CHAT,)


def test_a_factorys_only_type_comes_before_the_name() -> None:
    mute = read("x", {})
    assert typed("sensevoice", mute, offered=[LLMType.SPEECH2TEXT]).types == (LLMType.SPEECH2TEXT,)
    assert typed("x", mute, offered=[LLMType.SPEECH2TEXT]).source is Source.FACTORY
    assert typed("x-embed", mute, offered=[LLMType.CHAT]).types == (LLMType.EMBEDDING,)
    assert typed("x-embed", mute, offered=[LLMType.TTS, LLMType.CHAT]).source is Source.NAME


@pytest.mark.parametrize(
    ("raw", "retired"),
    [
        ({"status": "Shutdown"}, True),
        ({"active": False}, True),
        ({"status": "Retiring"}, False),
        ({"status": {"value": "unloaded"}}, False),
        ({"status": 1, "active": None}, False),
        ({"modelLifecycle": {"status": "ACTIVE"}}, False),
        ({"state": "not-loaded"}, False),
    ],
)
def test_what_was_shut_down_is_recognised(raw: Raw, retired: bool) -> None:
    assert read("x", raw).retired is retired


def test_other_names_of_a_model() -> None:
    assert read("llama3:latest", {}).aliases == ("llama3",)
    assert read("a", {"aliases": ["a", "b", 3, None, ""]}).aliases == ("b",)
    assert read("a", {"aliases": "b"}).aliases == ()


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(8192, 8192), ("8192", 8192), (8192.0, 8192), (0, None), (-1, None), (True, None), ("8k", None), (8.5, None),
     (10**9, None), (float("inf"), None), (float("nan"), None), ("9" * 5000, None), (None, None), ([1], None)],
)  # fmt: skip
def test_a_context_window_is_a_sensible_whole_number(value: Any, tokens: int | None) -> None:
    assert read("x", {"context_length": value}).max_tokens == tokens


def test_the_window_is_preferred_to_what_one_answer_may_have() -> None:
    raw = {"max_tokens": 100, "max_completion_tokens": 200, "metadata": {"context_length": 300}}
    assert read("x", raw).max_tokens == 300
    assert read("x", {"max_completion_tokens": 200}).max_tokens == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        *(*words.FIELDS, *words.FEATURE_FIELDS, *words.SCOPES, *words.IN_FIELDS, *words.OUT_FIELDS, "type"),
        *(*words.CONTEXT_FIELDS, "status", "state", "active", "aliases", "x.context_length"),
    ]
)
VALUES = st.sampled_from([*sorted(words.WORDS), "text", "image"])
ENTRIES = st.dictionaries(
    KEYS | st.text(max_size=6),
    JSON | st.lists(VALUES, max_size=3) | VALUES | st.dictionaries(KEYS | VALUES, JSON | VALUES, max_size=4),
    max_size=6,
)


@given(name=st.text(max_size=30), raw=ENTRIES)
@example("x", {"capabilities": {"": {"supported": []}}, "type": [[]], "aliases": {}})
def test_nothing_that_an_upstream_writes_is_too_odd(name: str, raw: Raw) -> None:
    reading = read(name, raw)
    found = typed(name, reading)
    assert set(found.types) <= set(LLMType)
    assert len(set(found.types)) == len(found.types)
    assert found.max_tokens is None or 0 < found.max_tokens <= 100_000_000
    assert {found.vision, found.tools, found.thinking} <= {True, False, None}
    assert all(isinstance(alias, str) for alias in found.aliases)


def test_words_are_written_as_they_are_compared() -> None:
    for word, signs in words.WORDS.items():
        assert word.isalnum() and word == word.lower()
        assert signs


def test_what_is_told_of_a_model_singly_comes_before_what_its_list_says() -> None:
    listed = read("m:latest", {"context_length": 10, "supports_vision": False, "architecture": TEXT})
    told = listed.with_details(read("m", {"capabilities": ["completion", "vision"], "model_info": {"x": 1}}))
    assert (told.types, told.prompted, told.vision, told.max_tokens) == ((LLMType.CHAT,), False, True, 10)
    assert told.aliases == ("m",)
    assert listed.with_details(read("m", {})) == listed
