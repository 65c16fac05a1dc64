"""models.dev's api.json: {"<provider>": {"models": {"<id>": {"limit", "cost", "modalities", "tool_call"}}}}.

Costs are USD per million tokens already. It knows no factories of ours: its models join them.
"""

from __future__ import annotations

from typing import Any

from providers.catalog.reading import load_json, rows_of, wrong_shape
from providers.catalog.records import Level, ParsedCatalogue
from providers.catalog.sheet import Sheet

NAME = "models.dev"

FACTORIES = {
    "alibaba-cn": "Tongyi-Qianwen",
    "amazon-bedrock": "Bedrock",
    "anthropic": "Anthropic",
    "azure": "Azure-OpenAI",
    "cohere": "Cohere",
    "deepinfra": "DeepInfra",
    "deepseek": "DeepSeek",
    "google": "Gemini",
    "google-vertex": "Google Cloud",
    "groq": "Groq",
    "minimax-cn": "MiniMax",
    "mistral": "Mistral",
    "modelscope": "ModelScope",
    "moonshotai-cn": "Moonshot",
    "novita-ai": "NovitaAI",
    "nvidia": "NVIDIA",
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "perplexity": "Perplexity",
    "siliconflow": "siliconflow_intl",
    "siliconflow-cn": "SILICONFLOW",
    "stepfun": "StepFun",
    "togetherai": "TogetherAI",
    "upstage": "Upstage",
    "xai": "xAI",
    "xiaomi": "Xiaomi",
    "zhipuai": "ZHIPU-AI",
}
PRICES = {"input": "input_price", "output": "output_price", "cache_read": "cached_input_price"}
_USED = {"id", "limit", "cost", "modalities", "tool_call"}


def parse(data: bytes) -> ParsedCatalogue:
    document, repeated = load_json(data)
    if not isinstance(document, dict):
        raise wrong_shape("models.dev", "an object of providers is expected")
    sheet = Sheet(NAME, repeated)
    for key, provider in rows_of(document.items(), "providers"):
        where = sheet.label(key, fallback="a provider")
        models = provider.get("models") if isinstance(provider, dict) else None
        if not isinstance(models, dict):
            sheet.note(Level.REFUSED, where, "the provider is left out: it has no object of models")
        elif key not in FACTORIES:
            sheet.note(
                Level.REFUSED, where, f"{len(models)} models are left out: the provider is none of our factories"
            )
        else:
            for name, row in rows_of(models.items(), "models"):
                _model(sheet, FACTORIES[key], name, row)
    return sheet.catalogue()


def _model(sheet: Sheet, factory: str, name: str, row: Any) -> None:
    where = sheet.label(factory, name, fallback=factory)
    if not isinstance(row, dict):
        sheet.note(Level.REFUSED, where, "the row is left out: not an object")
        return
    llm_name = sheet.name(where, "llm_name", name)
    if llm_name is None:
        return
    kinds = _types(sheet, where, name, row.get("modalities"))
    if not kinds:
        sheet.note(Level.REFUSED, where, "the row is left out: nothing it puts out has a type here")
        return
    stated: dict[str, Any] = {"model_types": ",".join(kinds)}
    limit = row.get("limit")
    if isinstance(limit, dict) and limit.get("context") is not None:
        stated["max_tokens"] = limit["context"]
    else:
        sheet.note(Level.INFO, where, "max_tokens is missing: taken as unknown in a new row")
    if "tool_call" in row:
        stated["is_tools"] = row["tool_call"]
    if row.get("cost") is not None:
        stated.update(_prices(sheet, where, row["cost"]))
    for field in set(row) - _USED:
        sheet.ignored(field)
    sheet.model(factory, llm_name, stated)


def _types(sheet: Sheet, where: str, name: str, modalities: Any) -> list[str]:
    """Guessed from what goes in and comes out, since this format has no types of its own."""
    ways = modalities if isinstance(modalities, dict) else {}
    goes_in, comes_out = ways.get("input") or ["text"], ways.get("output") or ["text"]
    if not isinstance(goes_in, list) or not isinstance(comes_out, list):
        return []
    for hint, kind in (("rerank", "rerank"), ("embed", "embedding")):
        if hint in name.lower():
            sheet.note(Level.NORMALISED, where, f"model_types: taken as {kind} from its name")
            return [kind]
    if "text" not in comes_out:
        return ["tts"] if "audio" in comes_out else []
    if "text" not in goes_in and "audio" in goes_in:
        return ["speech2text"]
    return ["chat", "image2text"] if "image" in goes_in else ["chat"]


def _prices(sheet: Sheet, where: str, cost: Any) -> dict[str, Any]:
    if not isinstance(cost, dict):
        sheet.note(Level.REFUSED, where, "its prices are left out: cost is not an object")
        return {}
    stated = {name: cost[field] for field, name in PRICES.items() if cost.get(field) is not None}
    detail = {field: value for field, value in cost.items() if field not in PRICES and value}
    if not any(stated.values()) and not detail:
        if stated:
            sheet.note(Level.NORMALISED, where, "every price is 0: taken as unpriced")
        return {}
    return {**stated, "price_detail": detail}
