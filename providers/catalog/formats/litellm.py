"""LiteLLM's model_prices_and_context_window.json: {"<provider>/<model>": {"litellm_provider", "mode", costs…}}.

Costs are USD per unit there and USD per million tokens here. It knows no factories: its models join ours.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from providers.catalog.reading import load_json, rows_of, wrong_shape
from providers.catalog.records import Level, ParsedCatalogue
from providers.catalog.sheet import Sheet

NAME = "litellm"
MILLION = 1_000_000

FACTORIES = {
    "aiml": "aimlapi.com",
    "anthropic": "Anthropic",
    "azure": "Azure-OpenAI",
    "azure_text": "Azure-OpenAI",
    "bedrock": "Bedrock",
    "bedrock_converse": "Bedrock",
    "cohere": "Cohere",
    "cohere_chat": "Cohere",
    "dashscope": "Tongyi-Qianwen",
    "deepinfra": "DeepInfra",
    "deepseek": "DeepSeek",
    "gemini": "Gemini",
    "groq": "Groq",
    "jina_ai": "Jina",
    "minimax": "MiniMax",
    "mistral": "Mistral",
    "moonshot": "Moonshot",
    "novita": "NovitaAI",
    "nvidia_nim": "NVIDIA",
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "perplexity": "Perplexity",
    "replicate": "Replicate",
    "text-completion-openai": "OpenAI",
    "together_ai": "TogetherAI",
    "vertex_ai": "Google Cloud",
    "volcengine": "VolcEngine",
    "voyage": "Voyage AI",
    "xai": "xAI",
}
TYPES = {
    "audio_speech": "tts",
    "audio_transcription": "speech2text",
    "chat": "chat",
    "completion": "chat",
    "embedding": "embedding",
    "ocr": "ocr",
    "rerank": "rerank",
    "responses": "chat",
}
PRICES = {
    "input_cost_per_token": "input_price",
    "output_cost_per_token": "output_price",
    "cache_read_input_token_cost": "cached_input_price",
}
_USED = {"litellm_provider", "mode", "max_input_tokens", "max_tokens", "supports_vision", "supports_function_calling"}


def parse(data: bytes) -> ParsedCatalogue:
    document, repeated = load_json(data)
    if not isinstance(document, dict):
        raise wrong_shape("LiteLLM", "an object of models is expected")
    sheet = Sheet(NAME, repeated)
    foreign: Counter[str] = Counter()
    for key, row in rows_of(document.items(), "models"):
        if key == "sample_spec":
            continue
        if not isinstance(row, dict) or not isinstance(row.get("litellm_provider"), str):
            sheet.note(Level.REFUSED, sheet.label(key, fallback="a row"), "the row is left out: it names no provider")
            continue
        provider = row["litellm_provider"]
        factory = FACTORIES.get(provider) or FACTORIES.get(provider.partition("-")[0])
        if factory is None:
            foreign[provider] += 1
        else:
            _model(sheet, factory, key, row)
    for provider, count in sorted(foreign.items()):
        sheet.note(Level.REFUSED, provider[:140], f"{count} models are left out: the provider is none of our factories")
    return sheet.catalogue()


def _model(sheet: Sheet, factory: str, key: str, row: dict[str, Any]) -> None:
    where = sheet.label(factory, key, fallback=factory)
    llm_name = sheet.name(where, "llm_name", _without_provider(key, row["litellm_provider"]))
    if llm_name is None:
        return
    mode = row.get("mode", "chat")
    kind = TYPES.get(mode) if isinstance(mode, str) else None
    if kind is None:
        sheet.note(Level.REFUSED, where, f"the row is left out: the mode {str(mode)[:60]!r} has no type here")
        return
    if "mode" not in row:
        sheet.note(Level.NORMALISED, where, "mode is missing: taken as chat")
    vision = kind == "chat" and row.get("supports_vision") is True
    stated: dict[str, Any] = {"model_types": f"{kind},image2text" if vision else kind}
    window = row.get("max_input_tokens", row.get("max_tokens"))
    if window is None:
        sheet.note(Level.INFO, where, "max_tokens is missing: taken as unknown in a new row")
    else:
        stated["max_tokens"] = window
    if "supports_function_calling" in row:
        stated["is_tools"] = row["supports_function_calling"]
    stated.update(_prices(sheet, where, row))
    for field in set(row) - _USED - set(PRICES):
        if "cost" not in field:
            sheet.ignored(field)
    sheet.model(factory, llm_name, stated)


def _prices(sheet: Sheet, where: str, row: dict[str, Any]) -> dict[str, Any]:
    """The prices per million tokens; all other costs are kept as their source has them, in `price_detail`."""
    stated = {name: _per_million(row[field]) for field, name in PRICES.items() if row.get(field) is not None}
    detail = {field: value for field, value in row.items() if "cost" in field and field not in PRICES and value}
    if not any(stated.values()) and not detail:
        if stated:
            sheet.note(Level.NORMALISED, where, "every price is 0: taken as unpriced")
        return {}
    return {**stated, "price_detail": detail}


def _per_million(value: Any) -> Any:
    return value * MILLION if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def _without_provider(key: str, provider: str) -> str:
    """LiteLLM's routing prefix is not part of the name the vendor knows."""
    prefix, slash, rest = key.partition("/")
    return rest if slash and prefix in (provider, provider.partition("_")[0], provider.partition("-")[0]) else key
