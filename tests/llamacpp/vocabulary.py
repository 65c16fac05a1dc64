"""The words that the tiny models know, and the template of their chats."""

from __future__ import annotations

from dataclasses import dataclass, field

from gguf.constants import TokenType

TEXT = """
the a model gateway token answer question server client request reply stream tenant key vendor cat dog river mountain
green blue red small large quick slow new old one two three four five city house tree light dark open close read write
list page job state ready error retry queue time day night north south east west is was are has can will may and or but
not in on at to of for with from by as it he she they we you this that
"""
WORDS = tuple(dict.fromkeys(TEXT.split()))
SPACE = "\u2581"  # how both tokenizers write the space before a word

CHAT_TEMPLATE = (
    "{%- for m in messages -%}{{- '<|im_start|>' + m['role'] + '\\n' -}}"
    "{%- if m['content'] is string -%}{{- m['content'] -}}{%- elif m['content'] -%}"
    "{%- for part in m['content'] -%}{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}{%- endfor -%}"
    "{%- endif -%}{{- '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@dataclass
class Vocabulary:
    texts: list[bytes] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    types: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, kind: TokenType = TokenType.NORMAL, score: float = 0.0) -> int:
        self.texts.append(text.encode())
        self.scores.append(score)
        self.types.append(int(kind))
        return len(self.texts) - 1


@dataclass
class ChatVocabulary(Vocabulary):
    """For llama.cpp's SentencePiece tokenizer; what may be said are the words from `first_word` on."""

    bos: int = 0
    pad: int = 0
    end_of_turn: int = 0
    first_word: int = 0

    @classmethod
    def build(cls) -> ChatVocabulary:
        made = cls()
        made.add("<unk>", TokenType.UNKNOWN)
        made.bos = made.add("<s>", TokenType.CONTROL)
        made.pad = made.add("</s>", TokenType.CONTROL)
        made.add("<|im_start|>", TokenType.CONTROL)
        made.end_of_turn = made.add("<|im_end|>", TokenType.CONTROL)
        for byte in range(256):
            made.add(f"<0x{byte:02X}>", TokenType.BYTE)
        # The tokenizer joins pairs of neighbours: each beginning of a word must be a token, or the word is not reached.
        whole = [SPACE + word for word in WORDS]
        beginnings = {word[:length] for word in whole for length in range(1, len(word))}
        letters = {chr(code) for code in range(ord("a"), ord("z") + 1)}
        for piece in sorted((beginnings | letters) - set(whole)):
            made.add(piece, score=len(piece) - 1000.0)
        made.first_word = len(made)
        for rank, word in enumerate(whole, start=1):
            made.add(word, score=-float(rank))
        return made


@dataclass
class WordPieces(Vocabulary):
    """For llama.cpp's BERT tokenizer."""

    PAD, UNKNOWN, CLS, SEPARATOR, MASK = range(5)

    @classmethod
    def build(cls) -> WordPieces:
        made = cls()
        for special in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"):
            made.add(special, TokenType.CONTROL)
        printable = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
        for piece in (*(SPACE + char for char in printable), *printable):
            made.add(piece)
        for word in WORDS:
            if len(word) > 1:
                made.add(SPACE + word)
        return made
