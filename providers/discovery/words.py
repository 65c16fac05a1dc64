"""What vendors write into their lists of models, and what it means. Words are compared by their letters and digits.

Sources, by the fields that they explain:
    capabilities                     https://docs.ollama.com/api-reference/show-model-details, https://docs.mistral.ai/api
                                     https://platform.claude.com/docs/en/api/models/list, https://localai.io/features/
    type                             https://docs.together.ai/reference/models-1, https://lmstudio.ai/docs/developer/rest
    model_type, model_ability        https://inference.readthedocs.io, https://huggingface.co/docs/text-embeddings-inference
    …_modalities, supported_…        https://openrouter.ai/docs/models
    domain, task_type, token_limits  https://www.volcengine.com/docs/82379
    endpoints, features              https://docs.cohere.com/reference/list-models, https://docs.aimlapi.com
    supportedGenerationMethods       https://ai.google.dev/api/models
    inputModalities, modelLifecycle  https://docs.aws.amazon.com/bedrock/latest/APIReference/API_FoundationModelSummary.html
    categories                       https://docs.gpustack.ai
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from providers.llm_types import LLMType


class Sign(StrEnum):
    """What a word says besides a type. OTHER: a type that has no use here. PROMPTED: something answers to a prompt,
    which need not be a chat."""

    VISION = "vision"
    TOOLS = "tools"
    THINKING = "thinking"
    PROMPTED = "prompted"
    OTHER = "other"


FEATURES = frozenset({Sign.VISION, Sign.TOOLS, Sign.THINKING})


def _table(**words: str) -> dict[str, tuple[LLMType | Sign, ...]]:
    """From `chat="llm …"` to {"llm": (LLMType.CHAT,)}; several meanings are joined by two underscores."""
    known: dict[str, LLMType | Sign] = {**{str(kind): kind for kind in LLMType}, **{str(sign): sign for sign in Sign}}
    found: dict[str, tuple[LLMType | Sign, ...]] = {}
    for meaning, listed in words.items():
        signs = tuple(known[name] for name in meaning.split("__"))
        found.update(dict.fromkeys(listed.split(), signs))
    return found


WORDS: Mapping[str, tuple[LLMType | Sign, ...]] = _table(
    chat="chat llm chatcompletion chatcompletions v1chatcompletions completionchat completion textgeneration "
    "conversational text2text supportschat",
    chat__vision="vlm visualquestionanswering imagetexttotext image2text",
    embedding="embedding embeddings embed v1embeddings textembedding textembeddings embedcontent embedtext "
    "asyncbatchembedcontent multimodalembedding imageembedding featureextraction sentencesimilarity text2vec",
    rerank="rerank reranker reranking rerankers v1rerank jinarerank textranking",
    speech2text="speech2text speechtotext stt asr transcription transcriptions transcribe transcript audio2text "
    "audiototext audiotranscription audiotranscriptions v1audiotranscriptions automaticspeechrecognition",
    tts="tts texttospeech text2speech speech speechsynthesis audiospeech v1audiospeech text2audio texttoaudio",
    ocr="ocr documentparsing",
    vision="vision imageinput imageinputs imageunderstanding supportsvision supportsimagein supportsimageinput",
    tools="tools tool tooluse toolcalling toolcall functioncalling functioncall function trainedfortooluse "
    "supportstools supportsfunctioncalling supportstooluse chatcompletionfunction",
    vision__prompted="chatcompletionvision",
    thinking="thinking reasoning reason deepthinking supportsreasoning supportsthinking includereasoning "
    "reasoningeffort chatcompletionreasoning",
    prompted="generatecontent openai anthropic gemini openairesponse language code",
    other="image images imagegeneration texttoimage text2image imagetoimage image2image imageedit inpainting diffusion "
    "video videogeneration texttovideo text2video imagetovideo image2video multimodaltovideo openaivideo 3d "
    "3dgeneration predict predictlongrunning bidigeneratecontent moderation moderations classifier classification "
    "textclassification soundgeneration music musicgeneration detection depth vad diarization router",
)
# One field's word that is another's: in a `type`, audio is spoken.
WORDS_OF_TYPE: Mapping[str, tuple[LLMType | Sign, ...]] = {**WORDS, "audio": (LLMType.TTS,)}

# Where words stand: a text, a list of texts, or an object whose values say yes or no.
FIELDS = (
    *("model_type", "modelType", "domain", "task_type", "taskType", "task", "pipeline_tag", "model_pipeline_tag"),
    *("categories", "category", "endpoints", "supportedGenerationMethods", "supported_endpoint_types"),
    *("model_ability", "abilities", "capabilities"),
)
# Fields whose words are too free to be types.
FEATURE_FIELDS = ("features", "supported_features", "supported_parameters", "tags")
# What it says when a field that lists all there is leaves it out.
LEFT_OUT: Mapping[str, tuple[Sign, ...]] = {
    "capabilities": (Sign.VISION, Sign.TOOLS, Sign.THINKING),
    "supported_parameters": (Sign.TOOLS, Sign.THINKING),
}
TYPE_FIELD = "type"

# What comes out of a model, and what goes in beside text.
OUTPUTS: Mapping[str, tuple[LLMType | Sign, ...]] = {
    "text": (Sign.PROMPTED,),
    "embedding": (LLMType.EMBEDDING,),
    "embeddings": (LLMType.EMBEDDING,),
    "rerank": (LLMType.RERANK,),
    "speech": (LLMType.TTS,),
    "audio": (LLMType.TTS,),
    "transcription": (LLMType.SPEECH2TEXT,),
    "image": (Sign.OTHER,),
    "video": (Sign.OTHER,),
}
IN_FIELDS = ("input_modalities", "inputModalities", "request_modality")
OUT_FIELDS = ("output_modalities", "outputModalities", "response_modality")

# Objects inside of an entry that say more about the model.
SCOPES = (
    *("architecture", "modalities", "capabilities", "features", "meta", "metadata", "info", "details", "limits"),
    *("token_limits", "top_provider", "model_info", "inference_metadata", "spec", "modelLifecycle"),
)

# Whole numbers of tokens, the best first; the last ones are what one answer may have, for want of the window.
CONTEXT_FIELDS = (
    *("context_length", "context_window", "max_context_length", "max_model_len", "context_size", "contextLength"),
    *("contextWindow", "inputTokenLimit", "max_input_tokens", "maxInputTokens", "max_input_length", "n_ctx", "ctx_len"),
    *("n_ctx_train", "max_sequence_length", "max_total_tokens"),
    *("max_tokens", "max_completion_tokens", "maxTokens"),
)
CONTEXT_SUFFIX = ".context_length"  # "qwen2.context_length"

# A `status` or `state` of a model that cannot be called, now or ever.
RETIRED = frozenset({"shutdown", "retired", "downloadable"})
LATEST = ":latest"  # a tag that need not be written

# Types by name, in this order; the first that fits counts, and what fits none is a chat.
NAME_HINTS: tuple[tuple[re.Pattern[str], LLMType | None], ...] = (
    (re.compile(r"rerank"), LLMType.RERANK),
    (re.compile(r"embed|bge|(?<![a-z])(?:e5|gte|m3e)(?![a-z])|text2vec"), LLMType.EMBEDDING),
    (re.compile(r"(?<![a-z])(?:asr|stt)(?![a-z])|transcri|whisper|paraformer|sensevoice"), LLMType.SPEECH2TEXT),
    (re.compile(r"(?<![a-z])tts(?![a-z])|cosyvoice"), LLMType.TTS),
    (
        re.compile(
            r"moderation|dall-e|gpt-image|image-generation|stable-diffusion|sdxl|(?<![a-z])(?:flux|sora|veo|imagen)(?![a-z])"
        ),
        None,
    ),
)
VISION_HINT = re.compile(r"(?<![a-z])vlm?(?![a-z])|vision|llava|internvl|minicpm-v|gpt-4o|glm-4(?:\.\d)?v|qvq|pixtral")
