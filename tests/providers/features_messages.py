"""What is said and shown in a chat, in OpenAI's vocabulary and in every wire format's own: see features.py."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.providers.features import HI, LEFT_OUT, OTHERS, REFUSED, Feature, add, user

TABLE: list[Feature] = []
feature = partial(add, TABLE)

PNG = "iVBORw0KGgo="
DATA_URL = f"data:image/png;base64,{PNG}"


def assistant(**message: Any) -> dict[str, Any]:
    return {"messages": [HI, {"role": "assistant", "content": "Hello.", **message}, HI]}


# Who speaks

for role in ("system", "developer"):
    feature(
        f"messages of the {role}",
        {"messages": [{"role": role, "content": "Be brief."}, HI]},
        anthropic={"system": "Be brief.", "messages": [HI]},
        bedrock={"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
        cohere={"messages": [{"role": "system", "content": "Be brief."}, HI]},
        gemini={"systemInstruction": {"parts": [{"text": "Be brief."}]}},
        ollama={"messages": [{"role": "system", "content": "Be brief."}, HI]},
        replicate={"input": {"prompt": "Hi", "system_prompt": "Be brief."}},
    )
feature(
    "several turns",
    {"messages": [HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"}]},
    anthropic={"messages": [HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"}]},
    bedrock={
        "messages": [
            {"role": "user", "content": [{"text": "Hi"}]},
            {"role": "assistant", "content": [{"text": "Hello."}]},
            {"role": "user", "content": [{"text": "Bye"}]},
        ]
    },
    cohere={"messages": [HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"}]},
    gemini={
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Hello."}]},
            {"role": "user", "parts": [{"text": "Bye"}]},
        ]
    },
    ollama={"messages": [HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"}]},
    replicate={"input": {"prompt": "User: Hi\n\nAssistant: Hello.\n\nUser: Bye\n\nAssistant:"}},
)
feature(
    "the name of a message's author",
    {"messages": [{**HI, "name": "Ann"}]},
    **dict.fromkeys(OTHERS, REFUSED),
)

# What is shown

feature(
    "pictures as data URLs",
    user({"type": "image_url", "image_url": {"url": DATA_URL}}),
    anthropic={
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See:"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                ],
            }
        ]
    },
    bedrock={
        "messages": [
            {"role": "user", "content": [{"text": "See:"}, {"image": {"format": "png", "source": {"bytes": PNG}}}]}
        ]
    },
    cohere={"messages": [user({"type": "image_url", "image_url": {"url": DATA_URL}})["messages"][0]]},
    gemini={"contents": [{"parts": [{"text": "See:"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]}]},
    ollama={"messages": [{"role": "user", "content": "See:", "images": [PNG]}]},
    replicate=REFUSED,
)
feature(
    "pictures at https URLs",
    user({"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}),
    anthropic={
        "messages": [
            {"content": [{}, {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}}]}
        ]
    },
    bedrock=REFUSED,
    cohere={"messages": [{"content": [{}, {"image_url": {"url": "https://pictures.example/a.png"}}]}]},
    gemini={
        "contents": [
            {"parts": [{}, {"fileData": {"fileUri": "https://pictures.example/a.png", "mimeType": "image/png"}}]}
        ]
    },
    ollama=REFUSED,
    replicate=REFUSED,
)
feature(
    "how closely a picture is looked at (`detail`)",
    user({"type": "image_url", "image_url": {"url": DATA_URL, "detail": "high"}}),
    user({"type": "image_url", "image_url": {"url": DATA_URL}}),
    anthropic=LEFT_OUT,
    bedrock=LEFT_OUT,
    cohere={"messages": [{"content": [{}, {"image_url": {"detail": "high"}}]}]},
    gemini=LEFT_OUT,
    ollama=LEFT_OUT,
    replicate=REFUSED,
)
feature(
    "recorded speech (`input_audio`)",
    user({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
    anthropic=REFUSED,
    bedrock=REFUSED,
    cohere=REFUSED,
    gemini={"contents": [{"parts": [{}, {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}}]}]},
    ollama=REFUSED,
    replicate=REFUSED,
)
feature(
    "PDFs as data URLs",
    user({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}),
    anthropic={
        "messages": [
            {
                "content": [
                    {},
                    {
                        "type": "document",
                        "title": "a.pdf",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                    },
                ]
            }
        ]
    },
    bedrock={
        "messages": [{"content": [{}, {"document": {"format": "pdf", "name": "a", "source": {"bytes": "JVBERg=="}}}]}]
    },
    cohere=REFUSED,
    gemini={"contents": [{"parts": [{}, {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}}]}]},
    ollama=REFUSED,
    replicate=REFUSED,
)
feature(
    "files that were uploaded before (`file_id`)",
    user({"type": "file", "file": {"file_id": "file-1"}}),
    **dict.fromkeys(OTHERS, REFUSED),
)

# What was said before

feature(
    "refusals of the assistant",
    assistant(content=None, refusal="I will not."),
    anthropic={"messages": [{}, {"role": "assistant", "content": "I will not."}, {}]},
    bedrock={"messages": [{}, {"role": "assistant", "content": [{"text": "I will not."}]}, {}]},
    cohere={"messages": [{}, {"role": "assistant", "content": "I will not."}, {}]},
    gemini={"contents": [{}, {"role": "model", "parts": [{"text": "I will not."}]}, {}]},
    ollama={"messages": [{}, {"role": "assistant", "content": "I will not."}, {}]},
    replicate={"input": {"prompt": "User: Hi\n\nAssistant: I will not.\n\nUser: Hi\n\nAssistant:"}},
)
feature(
    "thoughts of the assistant (`reasoning_content`)",
    assistant(reasoning_content="Greet."),
    assistant(),
    anthropic=LEFT_OUT,
    bedrock=LEFT_OUT,
    cohere={
        "messages": [
            {},
            {"content": [{"type": "thinking", "thinking": "Greet."}, {"type": "text", "text": "Hello."}]},
            {},
        ]
    },
    gemini=LEFT_OUT,
    ollama={"messages": [{}, {"content": "Hello.", "thinking": "Greet."}, {}]},
    replicate=LEFT_OUT,
)
feature(
    "signed thoughts of Claude (`thinking_blocks`)",
    assistant(thinking_blocks=[{"type": "thinking", "thinking": "Greet.", "signature": "s"}]),
    assistant(),
    anthropic={
        "messages": [
            {},
            {
                "content": [
                    {"type": "thinking", "thinking": "Greet.", "signature": "s"},
                    {"type": "text", "text": "Hello."},
                ]
            },
            {},
        ]
    },
    bedrock={
        "messages": [
            {},
            {
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Greet.", "signature": "s"}}},
                    {"text": "Hello."},
                ]
            },
            {},
        ]
    },
    cohere=LEFT_OUT,
    gemini=LEFT_OUT,
    ollama=LEFT_OUT,
    replicate=LEFT_OUT,
)
feature(
    "signatures of Gemini's thoughts (`extra_content.google`)",
    assistant(extra_content={"google": {"thought_signature": "s"}}),
    assistant(),
    anthropic=LEFT_OUT,
    bedrock=LEFT_OUT,
    cohere=LEFT_OUT,
    gemini={"contents": [{}, {"parts": [{"text": "Hello.", "thoughtSignature": "s"}]}, {}]},
    ollama=LEFT_OUT,
    replicate=LEFT_OUT,
)
feature(
    "spoken answers of the assistant (`audio`)",
    assistant(content=None, audio={"id": "audio_1"}),
    **dict.fromkeys(OTHERS, REFUSED),
)
