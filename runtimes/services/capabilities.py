"""What a model is and can do, where its runtime does not say: from its metadata, and from its name last.

What a runtime said is never changed. Tables are data: a new family of models is a line here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from providers.discovery.discovered import typed
from providers.discovery.reading import Reading
from providers.llm_types import LLMType
from runtimes.drivers.base import Described
from runtimes.models import ModelType

MAX_PARAMETERS = 10**15
# Our types of a model whose runtime has one word for it. `audio` is two things, which the name tells apart.
TYPES: Mapping[str, tuple[LLMType, ...]] = {
    ModelType.LLM: (LLMType.CHAT,),
    ModelType.VLM: (LLMType.CHAT, LLMType.IMAGE2TEXT),
    ModelType.EMBEDDINGS: (LLMType.EMBEDDING,),
    ModelType.RERANK: (LLMType.RERANK,),
    ModelType.VISION: (LLMType.IMAGE2TEXT,),
    ModelType.AUDIO: (LLMType.SPEECH2TEXT,),
}
# The runtimes' word for our types: the first set that is among a model's.
WORDS: tuple[tuple[frozenset[LLMType], ModelType], ...] = (
    (frozenset({LLMType.CHAT, LLMType.IMAGE2TEXT}), ModelType.VLM),
    (frozenset({LLMType.CHAT}), ModelType.LLM),
    (frozenset({LLMType.EMBEDDING}), ModelType.EMBEDDINGS),
    (frozenset({LLMType.RERANK}), ModelType.RERANK),
    (frozenset({LLMType.IMAGE2TEXT}), ModelType.VISION),
    (frozenset({LLMType.OCR}), ModelType.VISION),
    (frozenset({LLMType.SPEECH2TEXT}), ModelType.AUDIO),
    (frozenset({LLMType.TTS}), ModelType.AUDIO),
)
# Architectures that do one thing only, as `general.architecture` of a GGUF file and `model_type` of a config.json have
# them. Source: https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py
ARCHITECTURES: Mapping[str, tuple[LLMType, ...]] = {
    architecture: types
    for architectures, types in (
        (
            "bert nomic-bert nomic-bert-moe jina-bert-v2 jina-bert-v3 neo-bert modern-bert modernbert xlm-roberta "
            "roberta mpnet distilbert eurobert gemma-embedding t5encoder minilm paraphrase",
            (LLMType.EMBEDDING,),
        ),
        (
            "llava llava-next mllama qwen2vl qwen2-vl qwen2-5-vl qwen3vl qwen3vlmoe qwen3-vl idefics3 paligemma "
            "phi3-v minicpmv cogvlm pixtral internvl-chat",
            (LLMType.CHAT, LLMType.IMAGE2TEXT),
        ),
        ("clip siglip", (LLMType.IMAGE2TEXT,)),
        ("whisper parakeet sensevoice", (LLMType.SPEECH2TEXT,)),
        ("wavtokenizer-dec kokoro parler-tts", (LLMType.TTS,)),
    )
    for architecture in architectures.split()
}
_APART = r"(?:^|(?<=[\W_]))"
_FAMILY = re.compile(
    _APART + "(codellama|starcoder|deepseek|mixtral|mistral|ministral|llama|qwen|gemma|phi|falcon|granite|command-r|"
    "command-a|internlm|baichuan|chatglm|glm|yi|olmo|smollm|stablelm|nemotron|exaone|gpt-oss|kimi|minicpm|solar|vicuna|"
    "orca|mpt|bloom|rwkv|mamba|llava|moondream|gpt|claude|bge|e5|minilm|paraphrase|nomic-embed|whisper)",
    re.A,
)
_INSTRUCTED = re.compile(_APART + r"(?:instruct(?:ed)?|it|chat|assistant|hermes|zephyr|rlhf|dpo|sft)(?![a-z])", re.A)
_CODING = re.compile(r"(?<!de)(?<!en)cod(?:er?|ing|estral|ex)(?![a-z])|codellama|devstral", re.A)
_TOOLING = re.compile(
    _APART + r"(?:tools?|tool[-_]use|function[-_]?call(?:ing)?|functionary|firefunction|hermes)(?![a-z])", re.A
)
_MLX = re.compile(_APART + r"mlx(?![a-z])", re.A)
_GGUF = re.compile(r"gguf", re.A)
_QUANTIZATION = re.compile(
    r"(?<![a-z0-9])(i?q[1-8](?:_(?:[0-9]|k|[a-z]{1,3}))*|tq[12]_0|bf16|f16|f32|fp16|fp8|fp4|nvfp4|mxfp4|int[48]|[348]bit"
    r"|[348]-bit|awq|gptq)(?![a-z0-9])",
    re.I | re.A,
)
# 8x7b counts all experts, 30b-a3b those that are not active as well.
_PARAMETERS = re.compile(r"(?<![a-z0-9.])(?:(\d{1,3})x)?(\d{1,4}(?:\.\d{1,3})?)([mbt])(?![a-z0-9])", re.A)
_UNITS = {"m": 10**6, "b": 10**9, "t": 10**12}


def complete(model: Described, *, streams: bool) -> Described:
    """The model with all that can be told of it. `streams`: its service streams the answers of models that talk."""
    name = model.name.lower()
    file = model.file_path.lower()
    kinds = _kinds(model)
    talks = LLMType.CHAT in kinds
    gguf = _said(model.is_gguf, file.endswith(".gguf") or None, bool(_GGUF.search(name)))
    architecture = model.architecture or _family(name)
    return replace(
        model,
        model_types=tuple(kind.value for kind in kinds),
        type=_word(model, kinds),
        architecture=architecture,
        quantization=model.quantization or _quantization(name) or _quantization(file.rpartition("/")[2]),
        parameters=model.parameters if model.parameters is not None else parameters_of(name),
        streaming=_said(model.streaming, talks and streams),
        instructed=_said(model.instructed, bool(_INSTRUCTED.search(name))),
        coding=_said(model.coding, bool(_CODING.search(name))),
        tooling=_said(model.tooling, talks and bool(_TOOLING.search(name))),
        is_mlx=_said(model.is_mlx, "mlx" in model.runtime_name.lower() or None, bool(_MLX.search(name)) and not gguf),
        is_gguf=gguf,
    )


def parameters_of(name: str) -> int | None:
    """How many parameters a name says there are: 7000000000 for “qwen2.5:7b”; None if it says nothing."""
    found = _PARAMETERS.search(name.lower())
    if found is None:
        return None
    experts, size, unit = found.groups()
    count = round(float(size) * _UNITS[unit]) * int(experts or 1)
    return count if 0 < count <= MAX_PARAMETERS else None


def _kinds(model: Described) -> tuple[LLMType, ...]:
    """Our types: as the runtime says, by its word for them, by architecture, by name. None at all: no use is known."""
    if said := tuple(LLMType(kind) for kind in model.model_types if kind in set(LLMType)):
        return said
    by_name = typed(model.name, Reading()).types
    if model.type in TYPES:
        said = TYPES[model.type]
        return by_name if model.type == ModelType.AUDIO and by_name == (LLMType.TTS,) else said
    if by_name == (LLMType.RERANK,):  # rerankers are built on what else embeds
        return by_name
    architecture = re.sub(r"[_.]", "-", model.architecture.lower())
    return ARCHITECTURES.get(architecture) or ARCHITECTURES.get(_family(model.name.lower()), by_name)


def _word(model: Described, kinds: tuple[LLMType, ...]) -> str:
    if model.type in TYPES:
        return model.type
    return next((word.value for types, word in WORDS if types <= set(kinds)), ModelType.UNKNOWN.value)


def _said(*values: bool | None) -> bool:
    """The first that is known."""
    return next((value for value in values if value is not None), False)


def _family(name: str) -> str:
    found = _FAMILY.search(name)
    return found[1] if found else ""


def _quantization(text: str) -> str:
    found = _QUANTIZATION.search(text)
    return found[1].upper() if found else ""
